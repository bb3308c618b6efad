//! Gives up the connection to an address where another server serves now.

use std::sync::Arc;
use std::time::Duration;

use stanchion::random::jittered;

use super::address::Address;
use super::state::Cluster;
use crate::connect::node::Node;

/// So often, with such a pause, jittered, whoever found it out waits for the new connection.
const LOOKS: usize = 10;
const PAUSE: Duration = Duration::from_millis(20);

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
