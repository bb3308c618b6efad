//! The feed, as the cache sees it.

use std::fmt;
use std::sync::{Arc, Weak};

use stanchion::cache::{Watch, Watcher};
use stanchion::key::{Key, Namespace};
use stanchion::{Error, ErrorKind, Result};

use super::listener::Listener;
use super::watched::Which;
use crate::config::Invalidation;
use crate::connect::{Context, MasterObserver};
use crate::copies::Group;
use crate::keys::namespace_of;

/// The invalidation feed of a backend. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Feed(Arc<Listener>);

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Feed({:?})", self.0.mode())
    }
}

impl Feed {
    pub(crate) fn new(mode: Invalidation, context: &Arc<Context>) -> Self {
        Self(Listener::new(mode, context))
    }

    /// What is to be done when the connection to a master was lost.
    pub(crate) fn after_loss(&self, after_loss: impl Fn() + Send + Sync + 'static) {
        self.0.after_loss(Box::new(after_loss));
    }

    /// What has to follow the masters.
    pub(crate) fn observer(&self) -> Weak<dyn MasterObserver> {
        let listener: Weak<Listener> = Arc::downgrade(&self.0);
        listener
    }

    /// Notifies the watcher of every change in the namespace.
    pub(crate) fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        let name = namespace.to_string();
        let number = self.0.state().watch(&name, watcher);
        let number = number.ok_or_else(|| Error::new(ErrorKind::Closed, "the backend is closed"))?;
        let listener = Arc::downgrade(&self.0);
        // From here on dropping this undoes it.
        let watch = Watch::new(move || {
            if let Some(listener) = listener.upgrade() {
                let ended = listener.state().end(&name, number);
                drop(ended);
            }
        });
        self.0.listen_to_masters()?;
        Ok(watch)
    }

    /// Of which copies of a generation each change is received, if it is watched.
    pub(crate) fn covered(&self, generation: &Key) -> Which {
        let namespace = namespace_of(generation.as_str()).unwrap_or_default();
        self.0.state().covered(namespace, Group::of(generation))
    }

    /// A generation was read from these copies. To be called before it is known to anybody.
    pub(crate) fn read_from(&self, generation: &Key, copies: Which) {
        let namespace = namespace_of(generation.as_str()).unwrap_or_default();
        self.0.state().read_from(namespace, Group::of(generation), copies);
    }

    /// Ends every watch and the connections.
    pub(crate) fn close(&self) {
        let ended = self.0.state().close();
        drop(ended);
    }
}
