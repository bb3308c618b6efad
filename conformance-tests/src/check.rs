//! The vocabulary of the cases. Nothing here panics: a failure is data.

use std::fmt::Debug;
use std::task::Poll;
use std::time::Duration;

use stanchion::key::Name;
use stanchion::{Effect, ErrorKind, Result};

use crate::{Failure, Outcome};

/// The case has failed.
pub(crate) fn fail<T>(expected: impl Into<String>, observed: impl Debug) -> Outcome<T> {
    Err(Failure::Failed { expected: expected.into(), observed: format!("{observed:?}") })
}

/// The condition holds.
pub(crate) fn ensure(condition: bool, expected: &str, observed: impl Debug) -> Outcome {
    if condition { Ok(()) } else { fail(expected, observed) }
}

/// What was observed is what was expected.
#[expect(clippy::needless_pass_by_value, reason = "cases hand over what they have just made")]
pub(crate) fn same<T: PartialEq + Debug>(observed: T, expected: T, what: &str) -> Outcome {
    if observed == expected { Ok(()) } else { fail(format!("{what}: {expected:?}"), observed) }
}

/// The operation was refused with this kind, and without any effect.
pub(crate) fn refused<T: Debug>(outcome: Result<T>, kind: ErrorKind, what: &str) -> Outcome {
    match outcome {
        Err(error) if error.kind() == kind && error.effect() == Effect::NotApplied => Ok(()),
        other => fail(format!("{what}: refused as {kind}, with no effect"), other),
    }
}

/// A name that is known to be one.
pub(crate) fn name(text: &str) -> Outcome<Name> {
    Name::new(text).map_err(|error| Failure::broken("no name", &error))
}

/// Polls a call so often, and drops it: in the middle of what it does, if it does that in more steps than one.
/// Answers what it has answered by then.
pub(crate) async fn dropped_after<T>(polls: u32, call: impl Future<Output = T>) -> Option<T> {
    let mut left = polls;
    let mut call = std::pin::pin!(call);
    std::future::poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        if let Poll::Ready(answer) = call.as_mut().poll(context) {
            return Poll::Ready(Some(answer));
        }
        left -= 1;
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await
}

/// How long a case waits for what comes by itself: a push, a task of another handle.
pub(crate) const PATIENCE: Duration = Duration::from_secs(10);

/// Asks again and again until what is seen is right, or for too long; `look` answers what is still wrong.
pub(crate) async fn eventually<F>(what: &str, mut look: impl FnMut() -> F) -> Outcome
where
    F: Future<Output = Outcome<Option<String>>>,
{
    let mut wrong = String::new();
    let mut between = FIRST_PAUSE;
    let asking = async {
        loop {
            match look().await? {
                None => return Ok(()),
                Some(still) => wrong = still,
            }
            pause(between).await;
            between = (between * 2).min(FIRST_PAUSE * 20);
        }
    };
    // The elapsed case drops `asking`, and with it the borrow of `wrong`.
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(outcome) => outcome,
        Err(_) => fail(format!("{what}, within {PATIENCE:?}"), wrong),
    }
}

/// The time between the first two looks.
pub(crate) const FIRST_PAUSE: Duration = Duration::from_millis(5);

#[expect(
    clippy::disallowed_methods,
    reason = "what other processes do takes real time, also where the clock is driven"
)]
pub(crate) async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
