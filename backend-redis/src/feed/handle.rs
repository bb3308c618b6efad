//! The feed, as the cache sees it.

use std::fmt;
use std::sync::{Arc, Weak};

use stanchion::cache::{Watch, Watcher};
use stanchion::key::Namespace;
use stanchion::{Error, ErrorKind, Result};

use super::listener::Listener;
use crate::config::Invalidation;
use crate::connect::{Context, MasterObserver};

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

    /// Ends every watch and the connections.
    pub(crate) fn close(&self) {
        let ended = self.0.state().close();
        drop(ended);
    }
}
