//! Whether the backends can be reached.

use futures_util::future::select_all;
use tokio::sync::watch;

/// Whether a backend can be reached. Closed on purpose: whoever acts on it must act on each, and a finer
/// distinction would be for people, who have logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Health {
    /// Everything works.
    Up,
    /// Some of it does not: one of several masters, or one of several connections, is away.
    Degraded,
    /// Nothing can be reached; calls fail fast, and the backend keeps trying to reconnect.
    Down,
}

/// The state of a bundle of stores, as it is and as it changes: of several backends the worst.
#[derive(Debug, Clone)]
pub struct HealthWatch {
    backends: Vec<watch::Receiver<Health>>,
    seen: Health,
}

impl HealthWatch {
    /// The worst of these.
    pub(crate) fn worst_of(backends: Vec<watch::Receiver<Health>>) -> Self {
        let mut all = Self { backends, seen: Health::Up };
        all.seen = all.current();
        all
    }

    /// The state now.
    pub fn current(&self) -> Health {
        self.backends.iter().map(|backend| *backend.borrow()).max().unwrap_or(Health::Up)
    }

    /// Resolves once the state is another than the last one that this watch answered here or in
    /// [`wait_for`](Self::wait_for), or at first than the one when it was made. What changes and changes back in between is not seen. Never resolves once every backend is gone.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn changed(&mut self) -> Health {
        while self.current() == self.seen {
            self.reported().await;
        }
        self.seen = self.current();
        self.seen
    }

    /// Resolves with the state once it is a wanted one; at once if it is.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn wait_for(&mut self, mut wanted: impl FnMut(&Health) -> bool) -> Health {
        loop {
            let now = self.current();
            if wanted(&now) {
                self.seen = now;
                return now;
            }
            self.reported().await;
        }
    }

    /// Resolves when a backend has reported a state since the last time.
    async fn reported(&mut self) {
        let reports = self.backends.iter_mut().map(|backend| {
            Box::pin(async {
                // One that is gone reports nothing any more; its last state stays.
                if backend.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            })
        });
        let reports: Vec<_> = reports.collect();
        if reports.is_empty() {
            std::future::pending::<()>().await;
        }
        select_all(reports).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_worst_of_several_is_the_state_of_all() {
        let (one, other) = (watch::Sender::new(Health::Up), watch::Sender::new(Health::Up));
        let mut both = HealthWatch::worst_of(vec![one.subscribe(), other.subscribe()]);
        assert_eq!(both.current(), Health::Up);
        other.send_replace(Health::Degraded);
        both.wait_for(|health| *health == Health::Degraded).await;
        one.send_replace(Health::Down);
        both.wait_for(|health| *health == Health::Down).await;
        one.send_replace(Health::Up);
        assert_eq!(both.current(), Health::Degraded);
    }

    #[tokio::test]
    async fn a_change_between_two_calls_is_not_missed() {
        let backend = watch::Sender::new(Health::Up);
        let mut health = HealthWatch::worst_of(vec![backend.subscribe()]);
        backend.send_replace(Health::Down);
        assert_eq!(health.changed().await, Health::Down);
        let mut changed = std::pin::pin!(health.changed());
        assert!(futures_util::poll!(changed.as_mut()).is_pending());
        backend.send_replace(Health::Up);
        assert_eq!(changed.await, Health::Up);
    }

    #[tokio::test]
    async fn a_state_that_was_waited_for_is_no_change() {
        let backend = watch::Sender::new(Health::Up);
        let mut health = HealthWatch::worst_of(vec![backend.subscribe()]);
        backend.send_replace(Health::Down);
        assert_eq!(health.wait_for(|health| *health == Health::Down).await, Health::Down);
        assert!(futures_util::poll!(std::pin::pin!(health.changed())).is_pending());
        backend.send_replace(Health::Up);
        assert_eq!(health.changed().await, Health::Up);
    }

    #[tokio::test]
    async fn the_last_state_of_a_backend_that_is_gone_stays() {
        let backend = watch::Sender::new(Health::Up);
        let mut health = HealthWatch::worst_of(vec![backend.subscribe()]);
        backend.send_replace(Health::Down);
        drop(backend);
        assert_eq!(health.changed().await, Health::Down);
        assert!(futures_util::poll!(std::pin::pin!(health.changed())).is_pending());
        assert_eq!(health.current(), Health::Down);
    }
}
