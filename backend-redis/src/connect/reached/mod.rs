//! Whether the connections of a backend are at servers that belong together.
//!
//! Each says [which server](super::server_info) it has reached before it is used, and leaves it when another connection has
//! reached another one, or when the server is found to be a replica. So whoever is notified of changes is notified by the
//! server that commands go to: until the other connections are there too, they are down.

mod servers;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use stanchion::time::Monotonic;
use stanchion::{Error, ErrorKind, Result};

use self::servers::{Reached, ReachedServers};
use super::purpose::Purpose;
use super::server_info::ServerId;

/// A connection that can be given up: another is made in its place, and its address is looked up anew.
pub(super) trait GiveUp: Send + Sync {
    /// Must not wait. The connection may not be in use yet: then it will not be.
    fn give_up(&self);
}

/// The servers that the connections of a backend have reached, standalone. (On a Cluster they are at several.)
#[derive(Default)]
pub(crate) struct Servers(Mutex<ReachedServers<Arc<dyn GiveUp>>>);

impl fmt::Debug for Servers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Servers")
    }
}

impl Servers {
    fn lock(&self) -> MutexGuard<'_, ReachedServers<Arc<dyn GiveUp>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection is about to be used. Before that those at another server are given up; or else it is refused, as
    /// `Unavailable`.
    pub(super) fn arrives(
        &self,
        (node, generation): (u64, u64),
        purpose: Purpose,
        server: Option<ServerId>,
        connection: Arc<dyn GiveUp>,
        now: Monotonic,
    ) -> Result<()> {
        let new = Reached { node, generation, purpose, server, connection };
        let arrived = self.lock().arrives(new, now);
        // Without the lock: whoever is given up says that it leaves.
        let leaving = arrived.map_err(|_| {
            let why =
                "the connection has reached another server than the others: a failover may be under way";
            Error::new(ErrorKind::Unavailable, why)
        })?;
        for left in leaving {
            tracing::warn!(
                connection = left.purpose.name(),
                "the connection is made anew, since another one may have reached another server"
            );
            left.connection.give_up();
        }
        Ok(())
    }

    /// The server of this connection is a replica: every connection to it is given up.
    pub(super) fn is_replica(&self, node: u64, generation: u64, server: &str) {
        let leaving = self.lock().is_replica(node, generation);
        leave_replica(leaving, server);
    }

    /// A reply on this connection says that its server is a replica. Then as [`is_replica`](Self::is_replica), but once in a
    /// while for all connections.
    pub(super) fn says_it_is_a_replica(&self, node: u64, generation: u64, server: &str, now: Monotonic) {
        let leaving = self.lock().says_it_is_a_replica(node, generation, now);
        leave_replica(leaving, server);
    }

    /// This connection is not in use any more.
    pub(super) fn leaves(&self, node: u64, generation: u64) {
        let left = self.lock().leaves(node, generation);
        drop(left);
    }
}

/// Without the lock: whoever is given up says that it leaves.
fn leave_replica(leaving: Vec<Reached<Arc<dyn GiveUp>>>, server: &str) {
    if !leaving.is_empty() {
        tracing::warn!(server, "the server is a replica now: its connections are made anew");
    }
    for left in leaving {
        left.connection.give_up();
    }
}
