//! Work that must not be left half done: it runs in a task of its own, and goes on where its caller is gone.

use tracing::{Instrument, Span};

use super::Sessions;
use super::view::OpenOutcome;
use crate::environment::Tasks;
use crate::error::{Effect, Error, ErrorKind, Result};

/// Runs the work in a task that finishes it, also if the caller does not wait.
pub(super) async fn owned<T: Send + 'static>(
    tasks: &Tasks,
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    let task = tasks.spawn(work.instrument(Span::current()))?;
    let broken_off = |kind, message| Err(Error::new(kind, message).with_effect(Effect::Unknown));
    match task.await {
        Ok(Some(answer)) => answer,
        Ok(None) => broken_off(ErrorKind::Closed, "the stores were closed while sessions were changed"),
        Err(_) => broken_off(ErrorKind::Internal, "the task that changes sessions has panicked"),
    }
}

/// A session that was opened and has not reached its caller. Where it never does, nobody has its token, and it is ended.
pub(super) struct Unclaimed {
    sessions: Sessions,
    outcome: Option<OpenOutcome>,
}

impl Unclaimed {
    pub(super) fn new(sessions: Sessions, outcome: OpenOutcome) -> Self {
        Self { sessions, outcome: Some(outcome) }
    }

    pub(super) fn claim(mut self) -> Option<OpenOutcome> {
        self.outcome.take()
    }
}

impl Drop for Unclaimed {
    fn drop(&mut self) {
        if let Some(OpenOutcome::Opened(opened)) = self.outcome.take() {
            let sessions = self.sessions.clone();
            let undo = async move { sessions.undo(opened.session.id()).await };
            // Refused once the stores are closed; then it ends by its idle timeout.
            let _ = self.sessions.0.environment.tasks.spawn(undo);
        }
    }
}
