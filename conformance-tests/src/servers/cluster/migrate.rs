//! Slots of a Cluster that change hands, wholly or half.

use std::time::Duration;

use super::super::{ServerError, replication, wait};
use super::Cluster;
use super::view::owners;

const GOSSIP: Duration = Duration::from_secs(30);

/// The source answers MOVED once a slot has been given away; ASK for a key that it has not, or no longer, while
/// the slot is on its way; and a command on several keys is answered TRYAGAIN while some are here and some there.
impl Cluster {
    /// Moves a slot with its keys and waits until every node knows.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the slot on its way; call again to go on.
    pub async fn migrate_slot(&self, slot: u16, from: usize, to: usize) -> Result<(), ServerError> {
        self.begin_migration(slot, from, to).await?;
        self.move_keys(slot, from, to).await?;
        self.finish_migration(slot, from, to).await
    }

    /// Sets a slot on its way: the source still serves the keys it has, and answers ASK for those it has not.
    ///
    /// # Cancel safety
    /// As [`migrate_slot`](Self::migrate_slot).
    pub async fn begin_migration(&self, slot: u16, from: usize, to: usize) -> Result<(), ServerError> {
        let slot = slot.to_string();
        let (source, target) = (&self.nodes()[from], &self.nodes()[to]);
        target.tell(&["CLUSTER", "SETSLOT", &slot, "IMPORTING", self.id(from)]).await?;
        source.tell(&["CLUSTER", "SETSLOT", &slot, "MIGRATING", self.id(to)]).await?;
        Ok(())
    }

    /// Moves one key of a slot that is on its way.
    ///
    /// # Cancel safety
    /// The key may have moved or not.
    pub async fn move_key(&self, key: &str, from: usize, to: usize) -> Result<(), ServerError> {
        let port = self.nodes()[to].addr().port().to_string();
        let words = ["MIGRATE", "127.0.0.1", &port, key, "0", "5000"];
        self.nodes()[from].tell(&words).await.map(drop)
    }

    /// Moves the keys that a slot has now.
    ///
    /// # Cancel safety
    /// As [`move_key`](Self::move_key).
    pub async fn move_keys(&self, slot: u16, from: usize, to: usize) -> Result<(), ServerError> {
        let slot = slot.to_string();
        loop {
            let keys = self.nodes()[from].tell(&["CLUSTER", "GETKEYSINSLOT", &slot, "100"]).await?;
            if keys.items().is_empty() {
                return Ok(());
            }
            for key in keys.items() {
                self.move_key(&key.text(), from, to).await?;
            }
        }
    }

    /// Gives the slot to its new owner for good, and waits until every node knows.
    ///
    /// # Cancel safety
    /// As [`migrate_slot`](Self::migrate_slot).
    pub async fn finish_migration(&self, slot: u16, from: usize, to: usize) -> Result<(), ServerError> {
        let name = slot.to_string();
        let mut others = Vec::new();
        for (index, node) in self.nodes().iter().enumerate().filter(|(node, _)| ![from, to].contains(node)) {
            // Replicas hear it from their masters.
            if replication::master_port(node).await?.is_none() {
                others.push(index);
            }
        }
        // The new owner first: while it does not know, the old one still answers for the slot.
        for node in [to, from].into_iter().chain(others) {
            let words = ["CLUSTER", "SETSLOT", &name, "NODE", self.id(to)];
            self.nodes()[node].tell(&words).await?;
        }
        for node in self.nodes() {
            let what = format!("slot {slot} in the map of {}", node.addr());
            wait::until(&what, GOSSIP, || async move {
                let owners = owners(node).await?;
                let owner = owners.iter().find(|owner| (owner.first..=owner.last).contains(&slot));
                match owner {
                    Some(owner) if owner.id == self.id(to) => Ok(()),
                    other => Err(ServerError::new(format!("it belongs to {other:?}"))),
                }
            })
            .await?;
        }
        Ok(())
    }
}
