//! The state of a backend.

use std::fmt;

use async_trait::async_trait;
use tokio::sync::watch;

/// Whether a backend can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// Everything works.
    Up,
    /// Some of it does not: one of several masters, or one of several connections, is away.
    Degraded,
    /// Nothing can be reached; calls fail fast, and the backend keeps trying to reconnect.
    Down,
}

/// The life of a backend; what [`Stores`](super::Stores) needs beside the stores themselves.
#[async_trait]
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// A short name for errors and metrics: `memory`, `redis`.
    fn name(&self) -> &'static str;

    /// The state, as it is and as it changes.
    fn health(&self) -> watch::Receiver<Health>;

    /// Closes connections and ends subscriptions; later calls of its stores answer
    /// [`Closed`](crate::ErrorKind::Closed). Idempotent.
    async fn close(&self);
}
