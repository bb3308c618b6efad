//! Connections that are given up because another server answers at their address.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use stanchion::random::jittered;
use stanchion::time::Monotonic;

use super::slots::Address;
use super::state::Cluster;
use crate::connect::node::Node;

/// Of one address not more often than this: a server may send its clients in circles.
const EVERY: Duration = Duration::from_secs(1);
/// So often, with such a pause, jittered, whoever found it out waits for the new connection.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);

/// When a connection was last given up, by address.
#[derive(Debug, Default)]
pub(super) struct Renewals(Mutex<HashMap<Address, Monotonic>>);

impl Renewals {
    /// Whether it may be given up now.
    fn begin(&self, address: &Address, now: Monotonic) -> bool {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        last.retain(|_, at| now.saturating_since(*at) < EVERY);
        if last.contains_key(address) {
            return false;
        }
        last.insert(address.clone(), now);
        true
    }
}

impl Cluster {
    /// Has a new connection made to this address, which is resolved anew: another server serves there than the one that the
    /// connection is to. Answers whether this did it.
    pub(super) fn renew(&self, address: &Address, node: &Node) -> bool {
        let begins = self.renewals.begin(address, self.context().environment.clock.now());
        if begins {
            tracing::info!(server = %node.target().label(), "another server has this address now; connecting anew");
            node.give_up_all();
        }
        begins
    }

    /// The same, where a node says of a slot that it is served at the node's own address. Waits a moment for the new connection.
    pub(super) async fn renew_and_wait(&self, address: &Address, node: &Arc<Node>, again: bool) {
        let renewed = self.renew(address, node);
        // Another call may have done it meanwhile; then the new connection has not refused anything yet.
        if !renewed && !again && node.is_live() {
            return;
        }
        let environment = &self.context().environment;
        for _ in 0..LOOKS {
            environment.sleep(jittered(&*environment.random, PAUSE)).await;
            if node.is_live() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_renewed_once_in_a_while() {
        let renewals = Renewals::default();
        let (a, b) = (("a".to_owned(), 1), ("b".to_owned(), 1));
        let at = |ms| Monotonic::from_origin(Duration::from_millis(ms));
        assert!(renewals.begin(&a, at(0)) && renewals.begin(&b, at(1)));
        assert!(!renewals.begin(&a, at(999)));
        assert!(renewals.begin(&a, at(1_000)));
        assert!(!renewals.begin(&b, at(1_000)) && renewals.begin(&b, at(1_001)));
    }
}
