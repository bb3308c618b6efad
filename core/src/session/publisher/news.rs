//! The outboxes in which something waits, as far as this process knows.

use std::collections::BTreeSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::session::outbox::OutboxId;

/// At most one entry for each outbox that there is.
#[derive(Debug, Default)]
pub(super) struct News {
    outboxes: Mutex<BTreeSet<OutboxId>>,
    added: Notify,
}

impl News {
    fn outboxes(&self) -> MutexGuard<'_, BTreeSet<OutboxId>> {
        self.outboxes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something was appended to this one.
    pub(super) fn add(&self, outbox: OutboxId) {
        self.outboxes().insert(outbox);
        self.added.notify_one();
    }

    /// Something is left in this one, for the next turn.
    pub(super) fn put_back(&self, outbox: OutboxId) {
        self.outboxes().insert(outbox);
    }

    /// Takes all of them.
    pub(super) fn take(&self) -> BTreeSet<OutboxId> {
        std::mem::take(&mut *self.outboxes())
    }

    /// Resolves once something was added that was not taken.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub(super) async fn added(&self) {
        self.added.notified().await;
    }
}
