//! How a server is asked for invalidations.

use std::collections::HashSet;

use stanchion::Result;

use crate::config::Invalidation;
use crate::connect::Connection;
use crate::error::Access;
use crate::keys::Layout;

/// Asks for the invalidations of these namespaces, none of which this connection has asked for before.
pub(super) async fn request(
    connection: &Connection,
    mode: Invalidation,
    layout: &Layout,
    namespaces: &HashSet<String>,
) -> Result<()> {
    if namespaces.is_empty() {
        // Tracking without a prefix would be of everything.
        return Ok(());
    }
    match mode {
        Invalidation::Tracking => {
            let mut command = redis::cmd("CLIENT");
            command.arg("TRACKING").arg("ON").arg("BCAST");
            for namespace in namespaces {
                command.arg("PREFIX").arg(layout.begins(namespace));
            }
            connection.command(&command, Access::Read).await.map(drop)
        }
        Invalidation::Bus => {
            let channels: Vec<_> = namespaces.iter().map(|namespace| layout.invalidated(namespace)).collect();
            connection.subscribe(&channels).await
        }
    }
}
