//! Events: `PUBLISH` on one channel per domain, and one connection for all subscriptions.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use async_trait::async_trait;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{PushInfo, PushKind, Value};
use stanchion::event::{Envelope, EventBus, FeedSender, Received, SubscribeOptions, Subscription, feed};
use stanchion::{Error, ErrorKind, Result};

use crate::backend::Shared;
use crate::connect::{Call, Connection, Context, Node, PushHandler, Target};
use crate::error::{self, Access};

const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// The subscriptions of this process, and the connection that carries them, made at the first one.
///
/// The connection's reader hands each message straight to the bounded feeds and never waits, so that no
/// queue in between can grow.
pub(crate) struct Hub {
    // Held while the server's set of channels is being changed, so that it follows ours.
    server: tokio::sync::Mutex<Option<Arc<Node>>>,
    local: Mutex<Local>,
    target: Target,
    context: Arc<Context>,
    me: Weak<Hub>,
}

#[derive(Default)]
struct Local {
    subscribers: HashMap<u64, Subscriber>,
    by_channel: HashMap<String, Vec<u64>>,
    // The channels that the server has confirmed on the connection in use.
    confirmed: HashSet<String>,
    next: u64,
    connections: u64,
    closed: bool,
}

struct Subscriber {
    channels: Vec<String>,
    feed: FeedSender,
    // The connection it began on; on a later one it has missed something.
    since: u64,
}

impl fmt::Debug for Hub {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Hub({})", self.local().subscribers.len())
    }
}

impl Hub {
    pub(crate) fn new(target: Target, context: &Arc<Context>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            server: tokio::sync::Mutex::default(),
            local: Mutex::default(),
            target,
            context: Arc::clone(context),
            me: Weak::clone(me),
        })
    }

    fn local(&self) -> MutexGuard<'_, Local> {
        self.local.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every subscription and the connection.
    pub(crate) async fn close(&self) {
        let ended = {
            let mut local = self.local();
            local.closed = true;
            local.by_channel.clear();
            std::mem::take(&mut local.subscribers)
        };
        drop(ended);
        // At most one deadline away: then nobody is subscribing any more.
        *self.server.lock().await = None;
    }

    async fn subscribe(&self, channels: Vec<String>, buffer: usize) -> Result<Box<dyn Subscription>> {
        // The subscription keeps the hub: it outlives the handle it was made with.
        let hub = self.me.upgrade().ok_or_else(closed)?;
        let (receiver, number) = {
            let mut local = self.local();
            if local.closed {
                return Err(closed());
            }
            local.next += 1;
            let number = local.next;
            let (sender, receiver) = feed(buffer, move || hub.leave(number));
            for channel in &channels {
                local.by_channel.entry(channel.clone()).or_default().push(number);
            }
            // Not yet on any connection: nothing can be missed before the confirmation.
            let since = u64::MAX;
            local.subscribers.insert(number, Subscriber { channels: channels.clone(), feed: sender, since });
            (receiver, number)
        };
        // From here on dropping the receiver, and so this future, undoes everything.
        let mut server = self.server.lock().await;
        if self.local().closed {
            return Err(closed());
        }
        let node = self.connected(&mut server).await?;
        // Also where nothing is to be sent: what was confirmed on a lost connection is not live.
        let connection = node.raw()?;
        let missing: Vec<_> = {
            let local = self.local();
            channels.iter().filter(|channel| !local.confirmed.contains(*channel)).cloned().collect()
        };
        if !missing.is_empty() {
            let subscribing = tokio::time::timeout(self.context.deadline, connection.subscribe(&missing));
            match subscribing.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    node.suspect();
                    return Err(error::timed_out(self.context.deadline, Access::Read));
                }
            }
        }
        let mut local = self.local();
        local.confirmed.extend(missing);
        let connections = local.connections;
        if let Some(subscriber) = local.subscribers.get_mut(&number) {
            subscriber.since = connections;
        }
        Ok(Box::new(receiver))
    }

    /// The connection for subscriptions, made if there is none yet.
    async fn connected(&self, server: &mut Option<Arc<Node>>) -> Result<Arc<Node>> {
        if let Some(node) = server {
            return Ok(Arc::clone(node));
        }
        let me: Weak<dyn PushHandler> = Weak::clone(&self.me) as _;
        let handler: Arc<dyn PushHandler> = Arc::new(WeakHandler(me));
        let node = Node::open(self.target.clone(), Some(handler), &self.context).await?;
        *server = Some(Arc::clone(&node));
        Ok(node)
    }

    fn leave(&self, number: u64) {
        let mut local = self.local();
        let Some(subscriber) = local.subscribers.remove(&number) else {
            return;
        };
        let mut empty = Vec::new();
        for channel in &subscriber.channels {
            if let Some(numbers) = local.by_channel.get_mut(channel) {
                numbers.retain(|other| *other != number);
                if numbers.is_empty() {
                    local.by_channel.remove(channel);
                    empty.push(channel.clone());
                }
            }
        }
        drop(local);
        if !empty.is_empty()
            && let Some(hub) = self.me.upgrade()
        {
            // A closed backend has no connection left to unsubscribe on.
            let _ = self.context.environment.tasks.spawn(async move { hub.unsubscribe(empty).await });
        }
    }

    async fn unsubscribe(&self, channels: Vec<String>) {
        let server = self.server.lock().await;
        let unwanted: Vec<_> = {
            let mut local = self.local();
            let unwanted: Vec<_> =
                channels.into_iter().filter(|channel| !local.by_channel.contains_key(channel)).collect();
            for channel in &unwanted {
                local.confirmed.remove(channel);
            }
            unwanted
        };
        // A lost connection has no subscriptions, and the next one subscribes to what is wanted then.
        if !unwanted.is_empty()
            && let Some(connection) = server.as_ref().and_then(|node| node.raw().ok())
        {
            let unsubscribing =
                tokio::time::timeout(self.context.deadline, connection.unsubscribe(&unwanted));
            if !matches!(unsubscribing.await, Ok(Ok(()))) {
                tracing::debug!(
                    "could not unsubscribe; messages on channels without subscribers are dropped"
                );
            }
        }
    }

    fn deliver(&self, data: Vec<Value>) {
        let mut parts = data.into_iter();
        let (Some(Value::BulkString(channel)), Some(Value::BulkString(message))) =
            (parts.next(), parts.next())
        else {
            return;
        };
        let Ok(channel) = String::from_utf8(channel) else {
            return;
        };
        let local = self.local();
        let Some(numbers) = local.by_channel.get(&channel) else {
            return;
        };
        let received = match Envelope::from_json(&message) {
            Ok(event) => Received::Event(Box::new(event)),
            Err(error) => Received::Malformed(error.with_operation("event.receive").with_backend("redis")),
        };
        for number in numbers {
            if let Some(subscriber) = local.subscribers.get(number) {
                subscriber.feed.send(received.clone());
            }
        }
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the backend is closed")
}

/// The node must not keep the hub alive, which keeps the node.
struct WeakHandler(Weak<dyn PushHandler>);

impl PushHandler for WeakHandler {
    fn pushed(&self, info: PushInfo) {
        if let Some(hub) = self.0.upgrade() {
            hub.pushed(info);
        }
    }

    fn connected(&self, connection: Connection, generation: u64) -> BoxFuture<'_, Result<()>> {
        async move {
            match self.0.upgrade() {
                Some(hub) => hub.connected(connection, generation).await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn ready(&self, generation: u64) {
        if let Some(hub) = self.0.upgrade() {
            hub.ready(generation);
        }
    }

    fn lost(&self, generation: u64) {
        if let Some(hub) = self.0.upgrade() {
            hub.lost(generation);
        }
    }
}

impl PushHandler for Hub {
    fn pushed(&self, info: PushInfo) {
        if info.kind == PushKind::Message {
            self.deliver(info.data);
        }
    }

    /// Subscribes the new connection to everything that is wanted.
    fn connected(&self, connection: Connection, _: u64) -> BoxFuture<'_, Result<()>> {
        async move {
            let wanted: Vec<String> = {
                let mut local = self.local();
                local.confirmed.clear();
                local.by_channel.keys().cloned().collect()
            };
            if !wanted.is_empty() {
                connection.subscribe(&wanted).await?;
            }
            self.local().confirmed = wanted.into_iter().collect();
            Ok(())
        }
        .boxed()
    }

    /// Tells those who were there before that they may have missed something.
    fn ready(&self, _: u64) {
        let mut local = self.local();
        local.connections += 1;
        let connections = local.connections;
        for subscriber in local.subscribers.values().filter(|subscriber| subscriber.since < connections) {
            subscriber.feed.send(Received::Reconnected);
        }
    }

    /// Told by the next connection, which knows what was missed.
    fn lost(&self, _: u64) {}
}

#[derive(Debug)]
pub(crate) struct RedisEvents(pub(crate) Arc<Shared>);

#[async_trait]
impl EventBus for RedisEvents {
    fn max_event_bytes(&self) -> usize {
        MAX_EVENT_BYTES
    }

    async fn publish(&self, event: &Envelope) -> Result<()> {
        let call = Call::write("event.publish");
        let message = event.to_json().map_err(|error| call.named(error))?;
        if message.len() > MAX_EVENT_BYTES {
            return Err(call.named(Error::invalid(format!(
                "an event may have {MAX_EVENT_BYTES} bytes as JSON, got {}",
                message.len()
            ))));
        }
        let mut command = redis::cmd("PUBLISH");
        command.arg(self.0.layout.channel(event.event_type.domain())).arg(&message[..]);
        self.0.link.anywhere(call, command).await.map(drop)
    }

    async fn subscribe(&self, options: SubscribeOptions) -> Result<Box<dyn Subscription>> {
        let call = Call::read("event.subscribe");
        options.check().map_err(|error| call.named(error))?;
        let channels = options.domains.iter().map(|domain| self.0.layout.channel(domain)).collect();
        self.0.hub.subscribe(channels, options.buffer).await.map_err(|error| call.named(error))
    }
}
