//! One connection to a server, which any number of calls share.
//!
//! A call hands its request to the task that drives the connection, and waits for the answer. The client crate makes
//! requests and reads replies; when which of them is written and read is decided here.

mod answering;
mod asked;
mod deadlines;
mod driver;
mod handshake;
mod incoming;
mod outgoing;
mod reads;
mod replies;
mod request;
mod stream;
mod turn;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, ConnectionInfo, Pipeline, PushInfo, Value};
use stanchion::Result;
use stanchion::clock::Clock;
use stanchion::key::Key;
use tokio::sync::{mpsc, oneshot};

use self::driver::Driver;
use self::request::{Commands, Expected, Read, Request};
use self::stream::Stream;
use super::{Context, unwrap};
use crate::error::{self, Access};

/// What becomes of what the server says without being asked.
pub(super) trait Events: Send + Sync + 'static {
    /// Must not wait.
    fn pushed(&self, info: PushInfo);

    /// The connection has broken, which nobody who waits for an answer knows yet.
    fn broken(&self);
}

/// A connection. Clones share it, and it ends with the last of them.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Shared>);

struct Shared {
    requests: mpsc::UnboundedSender<Request>,
    clock: Arc<dyn Clock>,
}

impl Connection {
    /// Connects and says who we are, within the deadline.
    pub(super) async fn open(
        info: &ConnectionInfo,
        events: Option<Arc<dyn Events>>,
        context: &Arc<Context>,
    ) -> Result<Self> {
        let opening = async {
            let stream = stream::open(info.addr(), context)
                .await
                .map_err(|failure| error::from_client(&failure.into(), Access::Read))?;
            let connection = Self::on(stream, events, context);
            handshake::greet(&connection, info.redis_settings()).await?;
            Ok(connection)
        };
        let opened = tokio::time::timeout(context.deadline, opening).await;
        opened.unwrap_or_else(|_| Err(error::timed_out(context.deadline, Access::Read)))
    }

    /// Drives a stream on which nothing was said yet.
    fn on(stream: impl Stream + 'static, events: Option<Arc<dyn Events>>, context: &Arc<Context>) -> Self {
        let (requests, wanted) = mpsc::unbounded_channel();
        drop(tokio::spawn(Driver::new(stream, wanted, events, context).run()));
        let clock = Arc::clone(&context.environment.clock);
        Self(Arc::new(Shared { requests, clock }))
    }

    /// One command. An error that the server answered is an `Err` as well.
    ///
    /// # Cancel safety
    /// It may still be sent, or not.
    pub(crate) async fn command(&self, command: &Cmd, access: Access) -> Result<Value> {
        self.answer(command, access).await.and_then(|value| unwrap(value, access))
    }

    /// As [`command`](Self::command), but an error that the server answered is a value.
    pub(super) async fn answer(&self, command: &Cmd, access: Access) -> Result<Value> {
        let values = self.ask(command.get_packed_command(), Expected::Values(1), access).await?;
        values.into_iter().next().ok_or_else(|| error::unexpected_reply(access))
    }

    /// Several commands in one write, with a value for each.
    ///
    /// # Cancel safety
    /// As that of [`command`](Self::command).
    pub(super) async fn pipeline(&self, pipeline: &Pipeline, access: Access) -> Result<Vec<Value>> {
        self.ask(pipeline.get_packed_pipeline(), Expected::Values(pipeline.len()), access).await
    }

    /// Subscribes to channels. Answered when the server has confirmed each.
    pub(crate) async fn subscribe(&self, channels: &[String]) -> Result<()> {
        self.ask_for_channels("SUBSCRIBE", channels).await
    }

    /// Unsubscribes from channels.
    pub(crate) async fn unsubscribe(&self, channels: &[String]) -> Result<()> {
        self.ask_for_channels("UNSUBSCRIBE", channels).await
    }

    async fn ask_for_channels(&self, name: &str, channels: &[String]) -> Result<()> {
        let mut command = redis::cmd(name);
        command.arg(channels);
        let expected = Expected::Confirmations(channels.len());
        let refused = self.ask(command.get_packed_command(), expected, Access::Read).await?;
        refused.into_iter().try_for_each(|value| unwrap(value, Access::Read).map(drop))
    }

    async fn ask(&self, packed: Vec<u8>, expected: Expected, access: Access) -> Result<Vec<Value>> {
        let (reply, answer) = oneshot::channel();
        self.send(Request::Commands(Commands { packed, expected, access, reply }))?;
        answer.await.unwrap_or_else(|_| Err(request::closed(access)))
    }

    /// Reads a key, together with others that are read at the same time.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing from others.
    pub(super) async fn get(&self, key: &Key, deadline: Duration) -> Result<Option<Bytes>> {
        let (reply, answer) = oneshot::channel();
        let due = self.0.clock.now().saturating_add(deadline);
        self.send(Request::Read(Read { key: key.clone(), due, deadline, reply }))?;
        answer.await.unwrap_or_else(|_| Err(request::closed(Access::Read)))
    }

    /// Ends it, whoever has it, and whoever waits for an answer.
    pub(super) fn close(&self) {
        // If that fails it has ended already.
        let _ = self.0.requests.send(Request::Close);
    }

    fn send(&self, request: Request) -> Result<()> {
        self.0.requests.send(request).map_err(|_| request::never_sent())
    }
}
