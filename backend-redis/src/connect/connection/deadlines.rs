//! One timer for the deadlines of all reads of a connection.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use stanchion::clock::Clock;
use stanchion::time::Monotonic;
use tokio::time::Sleep;

/// Set to the earliest deadline. Reads that are answered before theirs leave it as it is: then it fires for nothing, once, and
/// is set anew.
#[derive(Default)]
pub(super) struct Deadlines {
    earliest: Option<Monotonic>,
    // Unset if another deadline has become the earliest.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadlines {
    pub(super) fn note(&mut self, due: Monotonic) {
        if self.earliest.is_none_or(|earliest| due < earliest) {
            self.earliest = Some(due);
            self.timer = None;
        }
    }

    /// Ready when the earliest deadline is over, with the time that it is then. What still waits is to be noted again.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, clock: &dyn Clock) -> Poll<Monotonic> {
        let Some(earliest) = self.earliest else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| {
            let left = earliest.saturating_since(clock.now());
            #[expect(
                clippy::disallowed_methods,
                reason = "a deadline of what a server does, which keeps real time"
            )]
            Box::pin(tokio::time::sleep(left))
        });
        ready!(timer.as_mut().poll(cx));
        *self = Self::default();
        // The timer has the last word: the clock may be one that a test moves.
        Poll::Ready(clock.now().max(earliest))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stanchion::clock::ManualClock;

    use super::*;

    #[tokio::test]
    async fn it_fires_once_at_the_earliest() {
        let (clock, mut deadlines) = (ManualClock::new(), Deadlines::default());
        let in_ms = |ms| clock.now().saturating_add(Duration::from_millis(ms));
        for due in [3_600_000, 2, 7_200_000] {
            deadlines.note(in_ms(due));
        }
        let now = std::future::poll_fn(|cx| deadlines.poll(cx, &clock)).await;
        assert_eq!(now, in_ms(2), "whatever the clock says that a test moves");
        assert!(deadlines.earliest.is_none() && deadlines.timer.is_none());
    }
}
