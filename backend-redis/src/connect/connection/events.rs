//! What happens on a connection without a request.

use redis::PushInfo;

/// Notified of pushed messages, and of the end of the connection.
pub(in crate::connect) trait ConnectionEvents: Send + Sync + 'static {
    /// A message was pushed. Must not wait.
    fn pushed(&self, info: PushInfo);

    /// The connection has broken, which nobody who waits for a reply knows yet.
    fn broken(&self);
}
