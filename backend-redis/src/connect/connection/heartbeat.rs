//! The heartbeat: whether a connection lives.

use std::pin::pin;
use std::time::Duration;

use redis::{Pipeline, Value};
use stanchion::Result;

use super::handle::Connection;
use crate::connect::context::Context;
use crate::error::{self, Access};

/// A reply that has not come by then does not come any more, whatever else does. The largest value that a server may have,
/// 512 MB, takes less time at 1 MB a second.
const LONGEST: Duration = Duration::from_mins(10);

impl Connection {
    /// Sends these commands, any of which is as good as a `PING`; an error that the server answers is a reply too.
    ///
    /// **Silence ends it, and nothing else does.** The reply comes behind all that is on its way already, and may take longer
    /// than a deadline: as long as something has been read since the last look, or something written while more waits to be,
    /// it is waited for another deadline. So a connection that carries a large value is not taken for dead, and one that is
    /// dead is noticed a deadline after the heartbeat was sent, or two if something came in between. After ten minutes nothing is waited
    /// for any more.
    ///
    /// # Errors
    /// [`Timeout`](stanchion::ErrorKind::Timeout) if the server is silent, and whatever ends the connection.
    ///
    /// # Cancel safety
    /// Nobody gets the reply.
    pub(in crate::connect) async fn heartbeat(
        &self,
        commands: &Pipeline,
        context: &Context,
    ) -> Result<Vec<Value>> {
        let (clock, deadline) = (&context.environment.clock, context.deadline);
        let (sent_at, mut progress) = (clock.now(), self.progress());
        let mut reply = pin!(self.urgent_pipeline(commands));
        loop {
            if let Ok(reply) = tokio::time::timeout(deadline, reply.as_mut()).await {
                return reply;
            }
            let before = std::mem::replace(&mut progress, self.progress());
            if progress == before || clock.now().saturating_since(sent_at) >= LONGEST {
                return Err(error::timed_out(deadline, Access::Read));
            }
        }
    }
}
