//! The handle by which callers send requests, and wait for the replies.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{Cmd, Pipeline, Value};
use stanchion::Result;
use stanchion::clock::Clock;
use stanchion::key::Key;
use tokio::sync::{mpsc, oneshot};

use super::driver::Driver;
use super::events::ConnectionEvents;
use super::handshake;
use super::request::{self, Commands, Expected, Read, Request};
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
    requests: mpsc::UnboundedSender<Request>,
    clock: Arc<dyn Clock>,
    progress: Arc<AtomicU64>,
}

impl Connection {
    /// Drives a stream on which nothing was sent yet.
    pub(super) fn on(
        stream: impl Stream + 'static,
        events: Option<Arc<dyn ConnectionEvents>>,
        purpose: Purpose,
        context: &Arc<Context>,
    ) -> Self {
        let (requests, received) = mpsc::unbounded_channel();
        let driver = Driver::new(stream, received, events, purpose, context);
        let progress = driver.progress();
        drop(tokio::spawn(driver.run()));
        let clock = Arc::clone(&context.environment.clock);
        Self(Arc::new(Shared { requests, clock, progress }))
    }

    /// One command. An error that the server answered is an `Err` as well.
    ///
    /// # Cancel safety
    /// It may still be sent, or not.
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
        let (reply, received) = oneshot::channel();
        self.send(Request::Commands(Commands { packed, expected, access, reply }))?;
        received.await.unwrap_or_else(|_| Err(request::closed(access)))
    }

    /// Reads a key, together with others that are read at the same time.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing from others.
    pub(in crate::connect) async fn get(&self, key: &Key, deadline: Duration) -> Result<Option<Bytes>> {
        let (reply, received) = oneshot::channel();
        let due = self.0.clock.now().saturating_add(deadline);
        self.send(Request::Read(Read { key: key.clone(), due, deadline, reply }))?;
        received.await.unwrap_or_else(|_| Err(request::closed(Access::Read)))
    }

    /// As it is known to what authenticates it anew.
    pub(super) fn authenticated(&self, events: &Arc<dyn ConnectionEvents>) -> Arc<dyn Authenticated> {
        Arc::new(Living { connection: Arc::downgrade(&self.0), events: Arc::downgrade(events) })
    }

    /// It grows with each byte that is read.
    pub(in crate::connect) fn progress(&self) -> u64 {
        self.0.progress.load(Ordering::Relaxed)
    }

    /// Ends it for all its clones, and for whoever waits for a reply.
    pub(in crate::connect) fn close(&self) {
        // If that fails it has ended already.
        let _ = self.0.requests.send(Request::Close);
    }

    fn send(&self, request: Request) -> Result<()> {
        self.0.requests.send(request).map_err(|_| request::never_sent())
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
            let connection = self.connection.upgrade().map(Connection).ok_or_else(request::never_sent)?;
            connection.command(&handshake::auth(credentials), Access::Read).await.map(drop)
        }
        .boxed()
    }

    fn give_up(&self) {
        if let Some(events) = self.events.upgrade() {
            events.broken();
        }
    }
}
