//! Further connections to the server of a node, beside that for commands.
//!
//! Replies come in the order of the requests on a connection, so that a small request waits for the large replies in front of it.
//! What is large has a connection of its own, and so has what must never wait.

use std::sync::{Arc, OnceLock};

use tokio::sync::watch;

use super::context::Context;
use super::node::Node;
use super::purpose::Purpose;
use super::supervisor;
use super::target::Target;
use crate::command::Lane;

/// One for each purpose, opened when it is used first.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    bulk: OnceLock<Option<Opened>>,
    renewals: OnceLock<Option<Opened>>,
}

#[derive(Debug)]
struct Opened {
    node: Arc<Node>,
    // Whether there was an attempt to connect; closes with the supervisor.
    tried: watch::Receiver<bool>,
}

impl Lanes {
    /// The way for such requests, if it is up, or is so soon: the first attempt to connect is waited for, for half the time that
    /// a call has. Otherwise the connection for commands is the way.
    pub(super) async fn get(
        &self,
        lane: Lane,
        target: &Target,
        context: &Arc<Context>,
    ) -> Option<&Arc<Node>> {
        let (place, purpose) = match lane {
            Lane::Commands => return None,
            Lane::Bulk => (&self.bulk, Purpose::Bulk),
            Lane::Renewals => (&self.renewals, Purpose::Renewals),
        };
        let opened = place.get_or_init(|| {
            let context = match purpose {
                Purpose::Renewals => context.renewals.context(context)?,
                _ => context,
            };
            let (node, tried) = supervisor::open_beside(target.clone(), purpose, context).ok()?;
            Some(Opened { node, tried })
        });
        let Opened { node, tried } = opened.as_ref()?;
        if !*tried.borrow() {
            let mut tried = tried.clone();
            let bound = context.deadline / 2;
            let _ = tokio::time::timeout(bound, tried.wait_for(|tried| *tried)).await;
        }
        Some(node).filter(|node| node.is_live())
    }

    /// Those that were opened.
    pub(super) fn opened(&self) -> impl Iterator<Item = &Arc<Node>> {
        let opened = [&self.bulk, &self.renewals].into_iter().filter_map(|place| place.get()?.as_ref());
        opened.map(|opened| &opened.node)
    }

    /// Opens none from now on.
    pub(super) fn close(&self) {
        for place in [&self.bulk, &self.renewals] {
            if let Some(opened) = place.get_or_init(|| None) {
                opened.node.close();
            }
        }
    }
}
