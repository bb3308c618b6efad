//! What is done with messages that a server sends unasked.

use futures_util::future::BoxFuture;
use redis::PushInfo;
use stanchion::Result;

use super::connection::Connection;
use super::purpose::Purpose;

/// Takes pushed messages, and prepares each new connection.
///
/// A connection is named by its generation, a number that is never used twice in a process.
pub(crate) trait PushHandler: Send + Sync + 'static {
    /// What the connection is for.
    fn purpose(&self) -> Purpose;

    /// A message has come; must not wait.
    fn pushed(&self, info: PushInfo);

    /// The connection is there, for the first time or again; it is used by nobody until this is done.
    fn connected(&self, connection: Connection, generation: u64) -> BoxFuture<'_, Result<()>>;

    /// All of that is done, and the connection is in use. Called in order with [`lost`](Self::lost); neither may
    /// wait, or call the node.
    fn ready(&self, generation: u64);

    /// The connection is not in use any more.
    fn lost(&self, generation: u64);
}
