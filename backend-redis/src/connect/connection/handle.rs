//! The handle by which callers send requests, and wait for the replies.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{Cmd, Pipeline, Value};
use stanchion::Result;
use stanchion::clock::Clock;
use stanchion::key::Key;
use tokio::runtime::{self, Handle};
use tokio::sync::{mpsc, oneshot};

use super::driver::Driver;
use super::end::{self, Ended};
use super::events::ConnectionEvents;
use super::handover::{Dropped, handover};
use super::handshake;
use super::queued::Amount;
use super::request::{Commands, Expected, Read, Request};
use super::status::Status;
use super::stream::Stream;
use crate::connect::authentication::Authenticated;
use crate::connect::context::Context;
use crate::connect::purpose::Purpose;
use crate::credentials::Credentials;
use crate::error::{self, Access};
use crate::reply;

/// A connection. Clones share it, and it ends with the last of them.
#[derive(Clone)]
pub(crate) struct Connection(Arc<Shared>);

struct Shared {
    // It has no bound of its own: what may be sent is counted before, and until the task has taken it out.
    requests: mpsc::UnboundedSender<Request>,
    clock: Arc<dyn Clock>,
    status: Arc<Status>,
    // That of the task.
    runtime: runtime::Id,
}

impl Connection {
    /// Drives a stream on which nothing was sent yet.
    pub(super) fn on(
        stream: impl Stream + 'static,
        events: Option<Arc<dyn ConnectionEvents>>,
        purpose: Purpose,
        context: &Arc<Context>,
    ) -> Self {
        let (connection, driver) = Self::driven_by_hand(stream, events, purpose, context);
        drop(tokio::spawn(driver.run()));
        connection
    }

    /// A connection, and what is to be run for it on this runtime.
    pub(super) fn driven_by_hand<S: Stream>(
        stream: S,
        events: Option<Arc<dyn ConnectionEvents>>,
        purpose: Purpose,
        context: &Arc<Context>,
    ) -> (Self, Driver<S>) {
        let (requests, received) = mpsc::unbounded_channel();
        let status = Arc::new(Status::default());
        let driver = Driver::new(stream, received, events, purpose, &status, context);
        let (clock, runtime) = (Arc::clone(&context.environment.clock), Handle::current().id());
        (Self(Arc::new(Shared { requests, clock, status, runtime })), driver)
    }

    /// One command. An error that the server answered is an `Err` as well.
    ///
    /// # Errors
    /// [`Throttled`](stanchion::ErrorKind::Throttled) if [too much](super::queued) waits already; otherwise those of the connection.
    ///
    /// # Cancel safety
    /// What is not sent yet is never sent; what is may be carried out.
    pub(crate) async fn command(&self, command: &Cmd, access: Access) -> Result<Value> {
        self.raw_command(command, access).await.and_then(|value| reply::checked(value, access))
    }

    /// As [`command`](Self::command), but an error that the server answered is a value.
    pub(in crate::connect) async fn raw_command(&self, command: &Cmd, access: Access) -> Result<Value> {
        let values = self.request(command.get_packed_command(), Expected::Values(1), access).await?;
        values.into_iter().next().ok_or_else(|| error::unexpected_reply(access))
    }

    /// Several commands in one write, with a value for each.
    ///
    /// # Cancel safety
    /// As that of [`command`](Self::command).
    pub(in crate::connect) async fn pipeline(
        &self,
        pipeline: &Pipeline,
        access: Access,
    ) -> Result<Vec<Value>> {
        self.request(pipeline.get_packed_pipeline(), Expected::Values(pipeline.len()), access).await
    }

    /// Subscribes to channels. Ends when the server has confirmed each.
    pub(crate) async fn subscribe(&self, channels: &[String]) -> Result<()> {
        self.change_channels("SUBSCRIBE", channels).await
    }

    /// Unsubscribes from channels.
    pub(crate) async fn unsubscribe(&self, channels: &[String]) -> Result<()> {
        self.change_channels("UNSUBSCRIBE", channels).await
    }

    async fn change_channels(&self, name: &str, channels: &[String]) -> Result<()> {
        let mut command = redis::cmd(name);
        command.arg(channels);
        let expected = Expected::Confirmations(channels.len());
        let refused = self.request(command.get_packed_command(), expected, Access::Read).await?;
        refused.into_iter().try_for_each(|value| reply::checked(value, Access::Read).map(drop))
    }

    async fn request(&self, packed: Vec<u8>, expected: Expected, access: Access) -> Result<Vec<Value>> {
        self.0.status.commands.add(packed.len())?;
        self.counted_request(packed, expected, access).await
    }

    /// As [`pipeline`](Self::pipeline), for small commands that only read, which are sent however much waits.
    pub(super) async fn urgent_pipeline(&self, pipeline: &Pipeline) -> Result<Vec<Value>> {
        let packed = pipeline.get_packed_pipeline();
        let _ = self.0.status.commands.add_always(Amount::of(packed.len()));
        self.counted_request(packed, Expected::Values(pipeline.len()), Access::Read).await
    }

    async fn counted_request(
        &self,
        packed: Vec<u8>,
        expected: Expected,
        access: Access,
    ) -> Result<Vec<Value>> {
        let (task, caller) = handover(packed, &self.0.status);
        // If that fails the caller's end knows it.
        let _ = self.0.requests.send(Request::Commands(Commands { expected, access, caller: task }));
        match caller.await {
            Ok(replies) => replies,
            Err(Dropped { taken }) => Err(self.0.status.dropped(access, taken)),
        }
    }

    /// Reads a key, together with others that are read at the same time.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing from others.
    pub(in crate::connect) async fn get(&self, key: &Key, deadline: Duration) -> Result<Option<Bytes>> {
        let status = &self.0.status;
        status.reads.add(key.as_str().len())?;
        let polls = status.polls();
        let (reply, received) = oneshot::channel();
        let due = self.0.clock.now().saturating_add(deadline);
        let read = Request::Read(Read { key: key.clone(), due, deadline, reply });
        // What can't be sent is dropped here, and with it the way for a reply.
        let sent = self.0.requests.send(read).is_ok();
        // The task keeps the deadline, for as long as it is run; where that is another runtime's affair this one keeps it too.
        let received = if sent && self.is_elsewhere() {
            let Ok(received) = tokio::time::timeout(deadline, received).await else {
                let not_run = status.polls() == polls;
                return Err(error::late(deadline, Access::Read, !not_run, not_run));
            };
            received
        } else {
            received.await
        };
        received.unwrap_or_else(|_| Err(status.dropped(Access::Read, sent)))
    }

    /// The commands that wait to be sent, and the reads.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> [Amount; 2] {
        [self.0.status.commands.waiting(), self.0.status.reads.waiting()]
    }

    /// The task runs on another runtime than this call.
    fn is_elsewhere(&self) -> bool {
        Handle::try_current().is_ok_and(|here| here.id() != self.0.runtime)
    }

    /// Grows with every byte that is read or written.
    pub(in crate::connect) fn progress(&self) -> u64 {
        self.0.status.progress()
    }

    /// As it is known to what authenticates it anew.
    pub(super) fn authenticated(&self, events: &Arc<dyn ConnectionEvents>) -> Arc<dyn Authenticated> {
        Arc::new(Living { connection: Arc::downgrade(&self.0), events: Arc::downgrade(events) })
    }

    /// Ends it for all its clones, and for whoever waits for a reply.
    pub(in crate::connect) fn close(&self) {
        self.0.status.end_unless_known(Ended::Closed);
        // If that fails it has ended already.
        let _ = self.0.requests.send(Request::Close);
    }
}

/// A connection as it is known to what authenticates it anew: whoever uses it decides when it ends.
struct Living {
    connection: Weak<Shared>,
    events: Weak<dyn ConnectionEvents>,
}

impl Authenticated for Living {
    fn is_alive(&self) -> bool {
        self.connection.strong_count() > 0
    }

    fn authenticate<'a>(&'a self, credentials: &'a Credentials) -> BoxFuture<'a, Result<()>> {
        async move {
            let connection = self.connection.upgrade().map(Connection).ok_or_else(end::never_sent)?;
            connection.command(&handshake::auth(credentials), Access::Write).await.map(drop)
        }
        .boxed()
    }

    fn give_up(&self) {
        if let Some(events) = self.events.upgrade() {
            events.broken();
        }
    }
}
