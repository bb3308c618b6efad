//! Receives the invalidations of every master, on a connection of its own to each.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{PushInfo, PushKind, Value};
use stanchion::cache::Shard;
use stanchion::random::jittered;
use stanchion::{Error, Result};

use super::request::request;
use super::state::{MasterId, State};
use crate::config::Invalidation;
use crate::connect::{Connection, Context, MasterObserver, Masters, Purpose, PushHandler, supervisor};
use crate::keys::namespace_of;

/// After a refusal the server is asked again: an operator may have given the right meanwhile.
const REFUSED_FOR: Duration = Duration::from_mins(1);

pub(super) struct Listener {
    state: Mutex<State>,
    mode: Invalidation,
    // It was logged once that the server refuses.
    logged: AtomicBool,
    /// What is to be done when the connection to a master was lost.
    after_loss: OnceLock<Box<dyn Fn() + Send + Sync>>,
    context: Arc<Context>,
    me: Weak<Listener>,
}

impl Listener {
    pub(super) fn new(mode: Invalidation, context: &Arc<Context>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            state: Mutex::default(),
            mode,
            logged: AtomicBool::new(false),
            after_loss: OnceLock::new(),
            context: Arc::clone(context),
            me: Weak::clone(me),
        })
    }

    pub(super) fn mode(&self) -> Invalidation {
        self.mode
    }

    /// There is one for the life of the backend: a second is not taken.
    pub(super) fn after_loss(&self, after_loss: Box<dyn Fn() + Send + Sync>) {
        let _ = self.after_loss.set(after_loss);
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks every master for what is watched, in the background; none if nothing is.
    pub(super) fn listen_to_masters(&self) -> Result<()> {
        let masters = self.state().wanted_masters();
        masters.into_iter().try_for_each(|master| self.listen_to(master))
    }

    fn listen_to(&self, master: MasterId) -> Result<()> {
        let Some(me) = self.me.upgrade() else { return Ok(()) };
        self.context.environment.tasks.spawn(async move { me.listen(&master).await }).map(drop)
    }

    /// As [`listen_to_masters`](Self::listen_to_masters), where a backend that is closing is no error.
    fn listen_to_masters_unless_closing(&self) {
        if let Err(error) = self.listen_to_masters() {
            tracing::debug!(%error, "the feed is closing");
        }
    }

    /// Connects to a master if that is not done, and asks it for the invalidations that it does not send yet.
    async fn listen(&self, master: &MasterId) {
        let Some(requesting) = self.state().requesting(master) else { return };
        let _requesting = requesting.lock().await;
        let unconnected = self.state().unconnected(master);
        if let Some(target) = unconnected {
            let handler = Arc::new(Handler { listener: Weak::clone(&self.me), master: master.clone() });
            match supervisor::open_or_wait(target, Some(handler), &self.context).await {
                Ok(node) => {
                    // Not wanted any more: dropped without the lock.
                    let kept = self.state().keep(master, node);
                    drop(kept);
                }
                // The backend is closing.
                Err(error) => tracing::debug!(server = %master.label, %error, "the feed is not opened"),
            }
        }
        loop {
            let missing = self.state().missing(master);
            let Some((node, generation, namespaces)) = missing else { return };
            let Ok((connection, current)) = node.connection() else { return };
            if current != generation {
                return; // It was lost meanwhile; the next one is asked for everything.
            }
            let requested = request(&connection, self.mode, &self.context.layout, &namespaces);
            match tokio::time::timeout(self.context.deadline, requested).await {
                Ok(Ok(())) => self.state().subscribed(master, generation, namespaces),
                Ok(Err(error)) if !error.kind().is_transient() => return self.refused(&error),
                // Nobody knows what it sends now.
                Ok(Err(_)) | Err(_) => return node.give_up(generation),
            }
        }
    }

    /// A server refuses to send invalidations: the feed is off until it is asked again.
    fn refused(&self, error: &Error) {
        let Some(unneeded) = self.state().refuse() else { return };
        drop(unneeded);
        let help = match self.mode {
            Invalidation::Tracking => {
                "allow CLIENT TRACKING, or set RedisConfig::invalidation(Invalidation::Bus) for the whole deployment"
            }
            Invalidation::Bus => "allow SUBSCRIBE to the invalidation channels",
        };
        if self.logged.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "the server still sends no invalidations");
        } else {
            tracing::error!(%error, help, "the server sends no invalidations: near caches are off, every read goes to it");
        }
        let (me, environment) = (Weak::clone(&self.me), self.context.environment.clone());
        let asking_again = self.context.environment.tasks.spawn(async move {
            environment.sleep(jittered(&*environment.random, REFUSED_FOR)).await;
            if let Some(listener) = me.upgrade() {
                listener.state().try_again();
                listener.listen_to_masters_unless_closing();
            }
        });
        if let Err(error) = asking_again {
            tracing::debug!(%error, "the feed is closing");
        }
    }

    /// A stored key has changed.
    fn changed(&self, stored: &[u8]) {
        // What is not ours concerns nobody.
        if let Some(key) = self.context.layout.original(stored)
            && let Some(namespace) = namespace_of(&key)
        {
            self.state().changed(namespace, &key);
        }
    }
}

impl MasterObserver for Listener {
    fn masters_changed(&self, masters: &Masters<'_>) {
        let unneeded = self.state().set_masters(masters);
        drop(unneeded);
        self.listen_to_masters_unless_closing();
    }

    fn redirected(&self, from: Shard, to: Shard) {
        self.state().redirected(from, to);
    }

    fn call_timed_out(&self) {
        let nodes = self.state().nodes();
        for node in nodes {
            node.request_heartbeat();
        }
    }
}

/// Handles the connection to one master. It must not keep the listener alive, which keeps the connection.
struct Handler {
    listener: Weak<Listener>,
    master: MasterId,
}

impl PushHandler for Handler {
    fn purpose(&self) -> Purpose {
        Purpose::Invalidations
    }

    fn pushed(&self, info: PushInfo) {
        let Some(listener) = self.listener.upgrade() else { return };
        match info.kind {
            // By tracking: all keys that one command changed, or nil for all there are.
            PushKind::Invalidate => match info.data.first() {
                Some(Value::Array(keys)) => {
                    for key in keys {
                        if let Value::BulkString(key) = key {
                            listener.changed(key);
                        }
                    }
                }
                _ => listener.state().flushed(&self.master),
            },
            // By the bus: the message on the namespace's channel is the key.
            PushKind::Message => {
                if let Some(Value::BulkString(key)) = info.data.get(1) {
                    listener.changed(key);
                }
            }
            _ => {}
        }
    }

    fn connected(&self, connection: Connection, generation: u64) -> BoxFuture<'_, Result<()>> {
        async move {
            let Some(listener) = self.listener.upgrade() else { return Ok(()) };
            let wanted = listener.state().wanted();
            match request(&connection, listener.mode, &listener.context.layout, &wanted).await {
                Ok(()) => listener.state().preparing(&self.master, generation, wanted),
                Err(error) if error.kind().is_transient() => return Err(error),
                Err(error) => listener.refused(&error),
            }
            Ok(())
        }
        .boxed()
    }

    fn ready(&self, generation: u64) {
        let Some(listener) = self.listener.upgrade() else { return };
        listener.state().ready(&self.master, generation);
        // What was watched while the connection was being made.
        let missing = listener.state().missing(&self.master).is_some();
        if missing && let Err(error) = listener.listen_to(self.master.clone()) {
            tracing::debug!(%error, "the feed is closing");
        }
    }

    fn lost(&self, generation: u64) {
        if let Some(listener) = self.listener.upgrade() {
            listener.state().lost(&self.master, generation);
            if let Some(after_loss) = listener.after_loss.get() {
                after_loss();
            }
        }
    }
}
