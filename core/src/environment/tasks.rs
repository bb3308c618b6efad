//! Tasks that own what must not leak: a load, a held lock, a forwarder.

use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tokio_util::task::TaskTracker;

use crate::error::{Error, ErrorKind, Result};

/// Spawns and tracks tasks on the runtime in which it was made, so that dropping a guard outside any
/// runtime still works. Clones are one.
#[derive(Debug, Clone)]
pub struct Tasks {
    handle: Option<Handle>,
    tracker: TaskTracker,
    closing: CancellationToken,
    abort: CancellationToken,
}

impl Tasks {
    /// Captures the current runtime, if there is one. Without, the runtime of the first spawning call is
    /// used each time.
    pub fn capture() -> Self {
        Self {
            handle: Handle::try_current().ok(),
            tracker: TaskTracker::new(),
            closing: CancellationToken::new(),
            abort: CancellationToken::new(),
        }
    }

    /// Runs a task to its end, or until the deadline of [`Stores::close`](crate::stores::Stores::close).
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) if there is no tokio runtime, or the captured one has been shut down;
    /// [`Closed`](ErrorKind::Closed) after close.
    pub fn spawn<F>(&self, task: F) -> Result<JoinHandle<Option<F::Output>>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        if self.is_closing() {
            return Err(Error::new(ErrorKind::Closed, "the stores are closed"));
        }
        self.spawn_last(task)
    }

    /// As [`spawn`](Self::spawn), also while the stores are closing: for releasing what others wait for.
    pub(crate) fn spawn_last<F>(&self, task: F) -> Result<JoinHandle<Option<F::Output>>>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        let Some(handle) = self.handle.clone().or_else(|| Handle::try_current().ok()) else {
            return Err(Error::new(
                ErrorKind::Config,
                "there is no tokio runtime: build the backend inside one",
            ));
        };
        let abort = self.abort.clone();
        let task = self.tracker.spawn_on(async move { abort.run_until_cancelled(task).await }, &handle);
        // Seldom by having run.
        if task.is_finished() && is_shut_down(&handle) {
            return Err(Error::new(
                ErrorKind::Config,
                "the tokio runtime in which the backend was built has ended: build it inside the runtime that lives for as \
                 long as it is used (each `#[tokio::test]` has a runtime of its own: one backend for each, or one runtime \
                 for all)",
            ));
        }
        Ok(task)
    }

    /// Resolves once the stores are closing: long-lived tasks finish up then.
    pub fn closing(&self) -> WaitForCancellationFutureOwned {
        self.closing.clone().cancelled_owned()
    }

    /// Whether the stores are closing or closed.
    pub fn is_closing(&self) -> bool {
        self.closing.is_cancelled()
    }

    /// Asks all tasks to finish, waits until they have or until `timer` is over, then aborts the rest.
    /// Answers whether all had finished.
    pub(super) async fn drain(&self, timer: impl Future<Output = ()>) -> bool {
        self.closing.cancel();
        self.tracker.close();
        let drained = tokio::select! {
            biased;
            () = self.tracker.wait() => true,
            () = timer => false,
        };
        self.abort.cancel();
        drained
    }
}

/// Whether a runtime takes no tasks any more: it drops them at once then, even those that would never end.
fn is_shut_down(runtime: &Handle) -> bool {
    let probe = runtime.spawn(std::future::pending::<()>());
    let dropped = probe.is_finished();
    probe.abort();
    dropped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn drain_waits_for_tasks_that_finish_and_aborts_those_that_do_not() {
        let tasks = Tasks::capture();
        let closing = tasks.closing();
        let polite = tasks.spawn(closing).unwrap();
        assert!(tasks.drain(std::future::pending()).await);
        assert_eq!(polite.await.unwrap(), Some(()));

        let tasks = Tasks::capture();
        let stubborn = tasks.spawn(std::future::pending::<()>()).unwrap();
        assert!(!tasks.drain(std::future::ready(())).await);
        assert_eq!(stubborn.await.unwrap(), None);
        assert_eq!(tasks.spawn(async {}).unwrap_err().kind(), ErrorKind::Closed);
    }

    #[test]
    fn without_a_runtime_spawning_says_so() {
        assert_eq!(Tasks::capture().spawn(async {}).unwrap_err().kind(), ErrorKind::Config);
    }

    #[test]
    fn after_the_end_of_the_captured_runtime_spawning_says_so() {
        for runtime in [
            tokio::runtime::Builder::new_current_thread().build().unwrap(),
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap(),
        ] {
            let tasks = runtime.block_on(async { Tasks::capture() });
            // What is finished before anybody looks has run all the same.
            for _ in 0..100 {
                drop(tasks.spawn(async {}).unwrap());
            }
            drop(runtime);
            let refused = tasks.spawn(async {}).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Config);
            assert!(refused.to_string().contains("has ended"), "{refused}");
        }
    }

    #[test]
    fn a_captured_runtime_serves_calls_from_outside() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let tasks = runtime.block_on(async { Tasks::capture() });
        let task = tasks.spawn(async { 7 }).unwrap();
        assert_eq!(runtime.block_on(task).unwrap(), Some(7));
    }
}
