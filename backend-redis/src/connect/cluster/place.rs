//! At which node what is published and subscribed to is.

use std::sync::{Mutex, PoisonError};

use tokio::sync::Notify;

use super::address::{Address, NodeId};

/// Where the connection for subscriptions is, or is being made to.
#[derive(Debug, Default)]
pub(super) struct Place {
    chosen: Mutex<Option<Chosen>>,
    // The map has changed since that was last looked at.
    moved: Notify,
}

/// A master of the map: which one, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) address: Address,
    pub(super) id: NodeId,
}

impl Place {
    /// The address, once something was chosen.
    pub(super) fn address(&self) -> Option<Address> {
        self.chosen().map(|chosen| chosen.address)
    }

    pub(super) fn chosen(&self) -> Option<Chosen> {
        self.chosen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn choose(&self, chosen: Chosen) {
        *self.chosen.lock().unwrap_or_else(PoisonError::into_inner) = Some(chosen);
    }

    /// Ends when the map has changed since that was last looked at.
    pub(super) fn changed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.moved.notified()
    }

    /// The map is another: whether the connection is still wanted is asked again.
    pub(super) fn map_changed(&self) {
        self.moved.notify_one();
    }
}
