//! The invalidation feed: every change in a watched namespace, told to its watchers.
//!
//! A connection of its own to each master, opened at the first [`watch`](Feed::watch). Its reader tells the
//! watchers itself, in the order of the wire, so that no queue stands in between. A namespace is asked for when
//! it is first watched; one that is watched no more is told of until the next connection, and passed over.

mod listener;
mod state;

use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use stanchion::cache::{Watch, Watcher};
use stanchion::key::Namespace;
use stanchion::random::jittered;
use stanchion::{Error, ErrorKind, Result};

use self::listener::Listener;
use self::state::{Seat, State};
use crate::config::Invalidation;
use crate::connect::{Connection, Context, Masters, Node, Target};
use crate::error::Access;
use crate::keys::namespace_of;

/// After a refusal the server is asked again: an operator may have given the right meanwhile.
const REFUSED_FOR: Duration = Duration::from_mins(1);

pub(crate) struct Feed {
    state: Mutex<State>,
    mode: Invalidation,
    /// The log has been told once that the server refuses.
    complained: AtomicBool,
    context: Arc<Context>,
    me: Weak<Feed>,
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feed({:?})", self.mode)
    }
}

impl Feed {
    pub(crate) fn new(mode: Invalidation, context: &Arc<Context>) -> Arc<Self> {
        Arc::new_cyclic(|me| Self {
            state: Mutex::default(),
            mode,
            complained: AtomicBool::new(false),
            context: Arc::clone(context),
            me: Weak::clone(me),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the watcher of every change in the namespace.
    pub(crate) fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        let name = namespace.to_string();
        let number = self.state().watch(&name, watcher);
        let number = number.ok_or_else(|| Error::new(ErrorKind::Closed, "the backend is closed"))?;
        let me = Weak::clone(&self.me);
        // From here on dropping this undoes it.
        let watch = Watch::new(move || {
            if let Some(feed) = me.upgrade() {
                let ended = feed.state().end(&name, number);
                drop(ended);
            }
        });
        let masters = self.state().wanted_masters();
        self.listen_to(masters)?;
        Ok(watch)
    }

    /// Has these masters tell what is wanted, in the background.
    fn listen_to(&self, masters: Vec<Seat>) -> Result<()> {
        for seat in masters {
            let Some(feed) = self.me.upgrade() else { return Ok(()) };
            self.context.environment.tasks.spawn(async move { feed.listen(&seat).await })?;
        }
        Ok(())
    }

    /// Connects to a master if that is not done, and asks it for what it does not tell yet.
    async fn listen(&self, seat: &Seat) {
        let Some(turn) = self.state().turn(seat) else { return };
        let _turn = turn.lock().await;
        let unconnected = self.state().unconnected(seat);
        if let Some(target) = unconnected {
            let listener = Arc::new(Listener::new(Weak::clone(&self.me), seat.clone()));
            match Node::open_or_wait(target, Some(listener), &self.context).await {
                Ok(node) => {
                    // Not wanted any more: dropped without the lock.
                    let kept = self.state().keep(seat, node);
                    drop(kept);
                }
                // The backend is closing.
                Err(error) => tracing::debug!(server = %seat.label, %error, "the feed is not opened"),
            }
        }
        loop {
            let missing = self.state().missing(seat);
            let Some((node, generation, namespaces)) = missing else { return };
            let Ok((connection, current)) = node.connection() else { return };
            if current != generation {
                return; // It was lost meanwhile; the next one is asked for everything.
            }
            let asking = tokio::time::timeout(self.context.deadline, self.ask(connection, &namespaces));
            match asking.await {
                Ok(Ok(true)) => self.state().heard(seat, generation, namespaces),
                Ok(Ok(false)) => return,
                Ok(Err(_)) | Err(_) => return node.give_up(generation), // Nobody knows what it tells now.
            }
        }
    }

    /// Asks a connection for namespaces that it was not asked for before; answers whether the server agreed.
    async fn ask(&self, connection: Connection, namespaces: &HashSet<String>) -> Result<bool> {
        if namespaces.is_empty() {
            // Tracking without a prefix would be of everything.
            return Ok(true);
        }
        let asked = match self.mode {
            Invalidation::Tracking => {
                let mut command = redis::cmd("CLIENT");
                command.arg("TRACKING").arg("ON").arg("BCAST");
                for namespace in namespaces {
                    command.arg("PREFIX").arg(self.context.layout.begins(namespace));
                }
                connection.command(&command, Access::Read).await.map(drop)
            }
            Invalidation::Bus => {
                let channels: Vec<_> =
                    namespaces.iter().map(|namespace| self.context.layout.invalidated(namespace)).collect();
                connection.subscribe(&channels).await
            }
        };
        let Err(error) = asked else { return Ok(true) };
        if error.kind().is_transient() {
            return Err(error);
        }
        self.refused(&error);
        Ok(false)
    }

    fn refused(&self, error: &Error) {
        let Some(unneeded) = self.state().refuse() else { return };
        drop(unneeded);
        let help = match self.mode {
            Invalidation::Tracking => {
                "allow CLIENT TRACKING, or set RedisConfig::invalidation(Invalidation::Bus) for the whole deployment"
            }
            Invalidation::Bus => "allow SUBSCRIBE to the invalidation channels",
        };
        if self.complained.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "the server still tells no changes");
        } else {
            tracing::error!(%error, help, "the server tells no changes: near caches are off, every read goes to it");
        }
        let (me, environment) = (Weak::clone(&self.me), self.context.environment.clone());
        let asking_again = self.context.environment.tasks.spawn(async move {
            environment.sleep(jittered(&*environment.random, REFUSED_FOR)).await;
            if let Some(feed) = me.upgrade() {
                feed.state().try_again();
                feed.listen_to_all();
            }
        });
        if let Err(error) = asking_again {
            tracing::debug!(%error, "the feed is closing");
        }
    }

    fn listen_to_all(&self) {
        let wanted = self.state().wanted_masters();
        if let Err(error) = self.listen_to(wanted) {
            tracing::debug!(%error, "the feed is closing");
        }
    }

    /// A key has changed, as it stands on the server.
    fn changed(&self, stored: &[u8]) {
        // What is not ours is not told to anybody.
        if let Some(key) = self.context.layout.without_prefix(stored)
            && let Some(namespace) = namespace_of(key)
        {
            self.state().changed(namespace, key);
        }
    }

    /// Ends every watch and the connections.
    pub(crate) fn close(&self) {
        let ended = self.state().close();
        drop(ended);
    }
}

impl Masters for Feed {
    fn are(&self, masters: &[Target]) {
        let unneeded = self.state().masters_are(masters);
        drop(unneeded);
        self.listen_to_all();
    }

    fn suspect(&self) {
        let nodes = self.state().nodes();
        for node in nodes {
            node.suspect();
        }
    }
}
