//! What came of a call, in few words that are safe as labels.

use crate::error::{ErrorKind, Result};

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    Ok,
    Failed(ErrorKind),
    /// Its caller has dropped it.
    Cancelled,
}

/// Runs the answer, and reports how it ended, also if it is dropped.
pub(super) async fn reported<T>(
    answer: impl Future<Output = Result<T>>,
    report: impl FnMut(Outcome),
) -> Result<T> {
    let mut pending = Pending(report, false);
    let answer = answer.await;
    pending.1 = true;
    (pending.0)(answer.as_ref().map_or_else(|error| Outcome::Failed(error.kind()), |_| Outcome::Ok));
    answer
}

/// A report that is due, and whether it was made.
struct Pending<F: FnMut(Outcome)>(F, bool);

impl<F: FnMut(Outcome)> Drop for Pending<F> {
    fn drop(&mut self) {
        if !self.1 {
            (self.0)(Outcome::Cancelled);
        }
    }
}
