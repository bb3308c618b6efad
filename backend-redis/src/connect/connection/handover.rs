//! Where a caller hands its commands to the task that drives the connection, and the task the replies to the caller.
//!
//! A caller that stops waiting has to know whether its commands may be carried out all the same. So leaving and sending are
//! decided under one lock: commands whose caller has left before are never sent, and a caller that leaves before has certainly
//! sent nothing.

use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use redis::Value;
use stanchion::Result;

use super::late;
use super::status::Status;

/// What the replies to the commands of one caller are, or why there are none.
pub(super) type Replies = Result<Vec<Value>>;

/// Shared by the two ends: all that is allocated for the commands of a caller, but for their bytes.
type Shared = Arc<Mutex<State>>;

struct State {
    packed: Packed,
    outcome: Outcome,
    waker: Option<Waker>,
}

/// The commands as they are sent.
enum Packed {
    Waiting(Vec<u8>),
    /// The task has taken them: from now on they are sent, or nobody knows.
    Taken,
    /// The caller has left before.
    Left,
}

enum Outcome {
    None,
    Replies(Replies),
    /// The task has dropped its end.
    Dropped,
}

/// A new pair, with commands that wait to be sent.
pub(super) fn handover(packed: Vec<u8>, status: &Status) -> (TaskEnd, CallerEnd<'_>) {
    let state = State { packed: Packed::Waiting(packed), outcome: Outcome::None, waker: None };
    let shared = Arc::new(Mutex::new(state));
    let caller = CallerEnd { shared: Some(Arc::clone(&shared)), status, polls: status.polls() };
    (TaskEnd(Some(shared)), caller)
}

fn lock(shared: &Shared) -> MutexGuard<'_, State> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The end of the task.
pub(super) struct TaskEnd(Option<Shared>);

impl TaskEnd {
    /// Takes the commands to send them, unless their caller has left.
    pub(super) fn take(&self) -> Option<Vec<u8>> {
        let mut state = lock(self.0.as_ref()?);
        let Packed::Waiting(packed) = &mut state.packed else { return None };
        let packed = mem::take(packed);
        state.packed = Packed::Taken;
        Some(packed)
    }

    /// The caller has left before the commands were taken.
    pub(super) fn is_cancelled(&self) -> bool {
        self.0.as_ref().is_none_or(|shared| matches!(lock(shared).packed, Packed::Left))
    }

    pub(super) fn reply(mut self, replies: Replies) {
        self.end(Outcome::Replies(replies));
    }

    fn end(&mut self, outcome: Outcome) {
        let Some(shared) = self.0.take() else { return };
        let waker = {
            let mut state = lock(&shared);
            state.outcome = outcome;
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl Drop for TaskEnd {
    fn drop(&mut self) {
        self.end(Outcome::Dropped);
    }
}

/// The end of the caller: a future of the replies. An error says that the task has dropped its end, and whether the commands
/// had been taken by then.
pub(super) struct CallerEnd<'a> {
    // None once it is ready.
    shared: Option<Shared>,
    status: &'a Status,
    // How often the task had run before.
    polls: u64,
}

/// The task has ended without a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dropped {
    pub(super) taken: bool,
}

impl Future for CallerEnd<'_> {
    type Output = Result<Replies, Dropped>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(shared) = &self.shared else { return Poll::Pending };
        let mut state = lock(shared);
        let taken = matches!(state.packed, Packed::Taken);
        let output = match mem::replace(&mut state.outcome, Outcome::None) {
            Outcome::None => {
                match &mut state.waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    none => *none = Some(cx.waker().clone()),
                }
                return Poll::Pending;
            }
            Outcome::Replies(replies) => Ok(replies),
            Outcome::Dropped => Err(Dropped { taken }),
        };
        drop(state);
        self.shared = None;
        if taken {
            late::sent();
        }
        Poll::Ready(output)
    }
}

impl Drop for CallerEnd<'_> {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        let mut state = lock(&shared);
        // Their memory is given back here, and not when the task comes by; their place in its queue is, and is counted until then.
        if let Packed::Waiting(packed) = mem::replace(&mut state.packed, Packed::Left) {
            // Before the task can see it.
            self.status.leaves(packed.len());
            late::unsent(self.status.polls() != self.polls);
        } else {
            late::sent();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::super::queued::Amount;
    use super::*;

    #[test]
    fn commands_are_either_taken_or_left() {
        let status = Status::default();
        let (task, caller) = handover(b"ab".to_vec(), &status);
        status.commands.add(2).unwrap();
        assert!(!task.is_cancelled());
        drop(caller);
        assert!(task.is_cancelled() && task.take().is_none(), "its caller has left");
        assert_eq!(status.commands.waiting(), Amount::of_requests(1), "its place is the task's to give back");
        assert_eq!(status.left(), 1);

        let (task, mut caller) = handover(b"ab".to_vec(), &status);
        assert!((&mut caller).now_or_never().is_none());
        assert_eq!(task.take().as_deref(), Some(&b"ab"[..]));
        assert!(task.take().is_none(), "once");
        task.reply(Ok(vec![Value::Okay]));
        assert_eq!(caller.now_or_never().unwrap().unwrap().unwrap(), [Value::Okay]);
    }

    #[test]
    fn a_task_that_ends_says_whether_the_commands_were_taken() {
        let status = Status::default();
        for taken in [false, true] {
            let (task, caller) = handover(Vec::new(), &status);
            assert_eq!(task.take().is_some() && taken, taken);
            let (task, caller) = if taken { (task, caller) } else { handover(Vec::new(), &status) };
            drop(task);
            assert_eq!(caller.now_or_never().unwrap().unwrap_err(), Dropped { taken });
        }
    }
}
