//! The subscriptions of a process, on one connection.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use redis::{PushInfo, PushKind, Value};
use stanchion::event::{Envelope, Received, Subscription, feed};
use stanchion::{Error, ErrorKind, Result};

use super::registry::Registry;
use crate::connect::supervisor;
use crate::connect::{Connection, Context, Node, Purpose, PushHandler, Target};
use crate::error::{self, Access};

/// The subscriptions of this process, and the connection that carries them, made at the first one.
///
/// The connection's reader hands each message straight to the bounded feeds and never waits, so that no
/// queue in between can grow.
pub(crate) struct Subscriptions {
    // Held while the server's set of channels is being changed, so that it follows ours.
    server: tokio::sync::Mutex<Option<Arc<Node>>>,
    registry: Mutex<Registry>,
    target: Target,
    context: Arc<Context>,
    me: Weak<Subscriptions>,
}

impl fmt::Debug for Subscriptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Subscriptions({})", self.registry().len())
    }
}

impl Subscriptions {
    pub(crate) fn new(target: Target, context: &Arc<Context>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            server: tokio::sync::Mutex::default(),
            registry: Mutex::default(),
            target,
            context: Arc::clone(context),
            me: Weak::clone(me),
        })
    }

    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.registry.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends every subscription and the connection.
    pub(crate) async fn close(&self) {
        let ended = self.registry().close();
        drop(ended);
        // Whoever is subscribing at this moment is waited for, for the deadlines of connecting and of subscribing at most.
        *self.server.lock().await = None;
    }

    pub(super) async fn subscribe(
        &self,
        channels: Vec<String>,
        buffer: usize,
    ) -> Result<Box<dyn Subscription>> {
        // The subscription keeps this alive: it outlives the stores it was made with.
        let me = self.me.upgrade().ok_or_else(closed)?;
        let (receiver, number) = {
            let mut registry = self.registry();
            let number = registry.number().ok_or_else(closed)?;
            let (sender, receiver) = feed(buffer, move || me.leave(number));
            registry.add(number, channels.clone(), sender);
            (receiver, number)
        };
        // From here on dropping the receiver, and so this future, undoes everything.
        let mut server = self.server.lock().await;
        if self.registry().is_closed() {
            return Err(closed());
        }
        let node = self.connected(&mut server).await?;
        // Also where nothing is to be sent: what was confirmed on a lost connection is not live.
        let connection = node.live_connection()?;
        let missing = self.registry().unconfirmed(&channels);
        if !missing.is_empty() {
            let subscribing = tokio::time::timeout(self.context.deadline, connection.subscribe(&missing));
            match subscribing.await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => return Err(error),
                Err(_) => {
                    node.request_heartbeat();
                    return Err(error::timed_out(self.context.deadline, Access::Read));
                }
            }
        }
        let begun = {
            let mut registry = self.registry();
            if registry.is_closed() {
                return Err(closed());
            }
            registry.begin(number, missing)
        };
        if !begun {
            // Its channel was denied when the connection was made. What was subscribed to just now may be nobody's.
            drop(server);
            self.unsubscribe(channels).await;
            return Err(Error::new(
                ErrorKind::Denied,
                "the right to a channel of this subscription was missing",
            ));
        }
        Ok(Box::new(receiver))
    }

    /// The node of the connection for subscriptions, connected to if there is none yet.
    async fn connected(&self, server: &mut Option<Arc<Node>>) -> Result<Arc<Node>> {
        if let Some(node) = server {
            return Ok(Arc::clone(node));
        }
        let me: Weak<dyn PushHandler> = Weak::clone(&self.me) as _;
        let handler: Arc<dyn PushHandler> = Arc::new(WeakHandler(me));
        let node = supervisor::open(self.target.clone(), Some(handler), &self.context).await?;
        *server = Some(Arc::clone(&node));
        Ok(node)
    }

    fn leave(&self, number: u64) {
        let unused = self.registry().remove(number);
        if !unused.is_empty()
            && let Some(me) = self.me.upgrade()
        {
            // A closed backend has no connection left to unsubscribe on.
            let _ = self.context.environment.tasks.spawn(async move { me.unsubscribe(unused).await });
        }
    }

    async fn unsubscribe(&self, channels: Vec<String>) {
        let server = self.server.lock().await;
        let unused = self.registry().take_unused(channels);
        // A lost connection has no subscriptions, and the next one subscribes to what is wanted then.
        if !unused.is_empty()
            && let Some(connection) = server.as_ref().and_then(|node| node.live_connection().ok())
        {
            let unsubscribing = tokio::time::timeout(self.context.deadline, connection.unsubscribe(&unused));
            if !matches!(unsubscribing.await, Ok(Ok(()))) {
                tracing::debug!(
                    "could not unsubscribe; messages on channels without subscribers are dropped"
                );
            }
        }
    }

    /// Subscribes to each of these channels by itself, and ends the subscribers of those that are denied. Answers the others.
    async fn subscribe_singly(&self, connection: &Connection, wanted: Vec<String>) -> Result<Vec<String>> {
        let (mut confirmed, mut unused) = (Vec::new(), Vec::new());
        // All in one write: there may be many, and there is one deadline for all.
        let replies =
            join_all(wanted.iter().map(|channel| connection.subscribe(std::slice::from_ref(channel)))).await;
        for (channel, reply) in wanted.into_iter().zip(replies) {
            match reply {
                Ok(()) => confirmed.push(channel),
                Err(error) if error.kind() == ErrorKind::Denied => {
                    tracing::warn!(%channel, %error, "subscriptions end: their channel is denied");
                    let why = error.with_operation("event.receive").with_backend("redis");
                    let (ended, left) = self.registry().deny(&channel, &why);
                    drop(ended);
                    unused.extend(left);
                }
                Err(error) => return Err(error),
            }
        }
        // Those of a subscriber that has ended, where it was the only one.
        confirmed.retain(|channel| !unused.contains(channel) || self.registry().is_wanted(channel));
        unused.retain(|channel| !confirmed.contains(channel));
        if !unused.is_empty() {
            connection.unsubscribe(&unused).await?;
        }
        Ok(confirmed)
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
        self.registry().deliver(&channel, || match Envelope::from_json(&message) {
            Ok(event) => Received::Event(Box::new(event)),
            Err(error) => Received::Malformed(error.with_operation("event.receive").with_backend("redis")),
        });
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the backend is closed")
}

/// The node must not keep the subscriptions alive, which keep the node.
struct WeakHandler(Weak<dyn PushHandler>);

impl PushHandler for WeakHandler {
    fn purpose(&self) -> Purpose {
        Purpose::Subscriptions
    }

    fn pushed(&self, info: PushInfo) {
        if let Some(subscriptions) = self.0.upgrade() {
            subscriptions.pushed(info);
        }
    }

    fn connected(&self, connection: Connection, generation: u64) -> BoxFuture<'_, Result<()>> {
        async move {
            match self.0.upgrade() {
                Some(subscriptions) => subscriptions.connected(connection, generation).await,
                None => Ok(()),
            }
        }
        .boxed()
    }

    fn ready(&self, generation: u64) {
        if let Some(subscriptions) = self.0.upgrade() {
            subscriptions.ready(generation);
        }
    }

    fn lost(&self, generation: u64) {
        if let Some(subscriptions) = self.0.upgrade() {
            subscriptions.lost(generation);
        }
    }
}

impl PushHandler for Subscriptions {
    fn purpose(&self) -> Purpose {
        Purpose::Subscriptions
    }

    fn pushed(&self, info: PushInfo) {
        if info.kind == PushKind::Message {
            self.deliver(info.data);
        }
    }

    /// Subscribes the new connection to everything that is wanted.
    fn connected(&self, connection: Connection, _: u64) -> BoxFuture<'_, Result<()>> {
        async move {
            let wanted = self.registry().reset();
            if wanted.is_empty() {
                return Ok(());
            }
            let confirmed = match connection.subscribe(&wanted).await {
                Ok(()) => wanted,
                // It may be the right to one of them that is missing.
                Err(error) if error.kind() == ErrorKind::Denied => {
                    self.subscribe_singly(&connection, wanted).await?
                }
                Err(error) => return Err(error),
            };
            self.registry().confirm(confirmed);
            Ok(())
        }
        .boxed()
    }

    /// Notifies those that were there before that they may have missed something.
    fn ready(&self, _: u64) {
        self.registry().reconnected();
    }

    /// The next connection notifies, since then it is known what was missed.
    fn lost(&self, _: u64) {}
}
