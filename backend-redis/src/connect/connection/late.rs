//! What is known of an operation whose deadline is over: whether anything of it was sent.
//!
//! An operation may send several requests, one after the other and to several servers. Each of them says what became of it
//! when it is answered or dropped, to the thread on which that happens; the operation listens there while it is run.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

/// Counts of what requests have said on this thread. They only have to differ when something is said.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct Said {
    sent: u64,
    not_run: u64,
}

thread_local! {
    static SAID: Cell<Said> = const { Cell::new(Said { sent: 0, not_run: 0 }) };
}

/// Something was sent of the request that is answered or dropped here.
pub(super) fn sent() {
    let said = SAID.get();
    SAID.set(Said { sent: said.sent.wrapping_add(1), ..said });
}

/// Nothing was sent of the request that is dropped here, and the task that was to do so has run meanwhile, or not.
pub(super) fn unsent(has_run: bool) {
    if !has_run {
        let said = SAID.get();
        SAID.set(Said { not_run: said.not_run.wrapping_add(1), ..said });
    }
}

/// An operation whose deadline is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connect) struct Late {
    /// Some of its commands were sent, so that they may be carried out.
    pub(in crate::connect) sent: bool,
    /// A task that was to send one has not run for as long as it waited: its runtime is not driven, or blocked.
    pub(in crate::connect) not_run: bool,
}

impl Late {
    fn hears(&mut self, before: Said) {
        let now = SAID.get();
        self.sent |= now.sent != before.sent;
        self.not_run |= now.not_run != before.not_run;
    }
}

/// Runs an operation, until its deadline is over. The work is made in here: one that was handed over would be in this future
/// twice.
pub(in crate::connect) async fn within<F: Future>(
    deadline: Duration,
    work: impl FnOnce() -> F,
) -> Result<F::Output, Late> {
    within_while(deadline, || false, work).await
}

/// As [`within`], where the deadline is looked at anew whenever it is over, and another one may begin.
pub(in crate::connect) async fn within_while<F: Future>(
    deadline: Duration,
    mut goes_on: impl FnMut() -> bool,
    work: impl FnOnce() -> F,
) -> Result<F::Output, Late> {
    let mut late = Late { sent: false, not_run: false };
    let (outcome, before) = {
        let mut work = pin!(work());
        let outcome = loop {
            let listening = std::future::poll_fn(|cx| {
                let before = SAID.get();
                let polled = work.as_mut().poll(cx);
                late.hears(before);
                polled
            });
            match tokio::time::timeout(deadline, listening).await {
                Ok(outcome) => break Ok(outcome),
                Err(over) if !goes_on() => break Err(over),
                Err(_) => {}
            }
        };
        (outcome, SAID.get())
    };
    // Those that were waited for until now have been dropped, on this thread.
    late.hears(before);
    outcome.map_err(|_| late)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct OnDrop(fn());

    impl Drop for OnDrop {
        fn drop(&mut self) {
            (self.0)();
        }
    }

    async fn late(work: impl AsyncFnOnce()) -> Late {
        let work = || async {
            work().await;
            std::future::pending::<()>().await;
        };
        within(Duration::from_millis(1), work).await.unwrap_err()
    }

    #[tokio::test]
    async fn what_is_said_before_the_deadline_or_at_it_is_heard() {
        sent();
        assert_eq!(late(async || {}).await, Late { sent: false, not_run: false });
        assert_eq!(late(async || sent()).await, Late { sent: true, not_run: false });
        let held = |said: fn()| {
            within(Duration::from_millis(1), move || async move {
                let _held = OnDrop(said);
                std::future::pending::<()>().await;
            })
        };
        assert_eq!(held(sent).await.unwrap_err(), Late { sent: true, not_run: false });
        assert_eq!(held(|| unsent(false)).await.unwrap_err(), Late { sent: false, not_run: true });
        assert_eq!(held(|| unsent(true)).await.unwrap_err(), Late { sent: false, not_run: false });
        assert_eq!(within(Duration::from_secs(1), || async { 7 }).await, Ok(7));
        let mut left = 3;
        let goes_on = || {
            left -= 1;
            left > 0
        };
        let never = || std::future::pending::<()>();
        let over = within_while(Duration::from_millis(1), goes_on, never).await;
        assert_eq!((over, left), (Err(Late { sent: false, not_run: false }), 0));
    }
}
