//! One round of questions: several nodes are asked for the map.

use std::collections::{HashSet, VecDeque};
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::{Pipeline, Value};
use stanchion::{Error, ErrorKind, Result};

use super::address::Address;
use super::state::Cluster;
use super::view::View;
use crate::connect::target::Target;
use crate::error::{self, Access};

/// Once one node has replied the others are waited for so long: one that hangs must not keep the news of a failover.
const SETTLE: Duration = Duration::from_millis(250);
/// Of so many nodes each is asked in a round at most; in the next they are others.
const MOST: usize = 16;

/// What was answered so far.
pub(super) struct Round<'a> {
    cluster: &'a Cluster,
    waiting: VecDeque<Address>,
    asked: HashSet<Address>,
    pub(super) views: Vec<View>,
    /// Why one of them did not answer.
    pub(super) error: Option<Error>,
}

impl<'a> Round<'a> {
    /// These are asked, in this order, and then those of whom they speak.
    pub(super) fn new(cluster: &'a Cluster, order: Vec<Address>) -> Self {
        let waiting = order.into();
        Self { cluster, waiting, asked: HashSet::new(), views: Vec::new(), error: None }
    }

    /// Asks until so many have answered that are not cut off from the Cluster, if there are as many; at once as many as are
    /// lacking.
    pub(super) async fn ask(&mut self, wanted: usize) {
        let mut asking = FuturesUnordered::new();
        let settling = || Box::pin(self.cluster.context().environment.sleep(SETTLE));
        // One may have answered in an earlier call.
        let mut settled = (self.good() > 0).then(settling);
        loop {
            while asking.len() + self.good() < wanted
                && let Some(address) = self.next()
            {
                asking.push(self.cluster.ask(address));
            }
            let answered = match &mut settled {
                None => asking.next().await,
                Some(settled) => tokio::select! {
                    biased;
                    answered = asking.next() => answered,
                    () = settled => None,
                },
            };
            match answered {
                None => return,
                Some(Ok(view)) => self.take(view),
                Some(Err(error)) => self.error = Some(error),
            }
            if self.good() >= wanted {
                return;
            }
            if self.good() > 0 && settled.is_none() {
                settled = Some(Box::pin(self.cluster.context().environment.sleep(SETTLE)));
            }
        }
    }

    fn next(&mut self) -> Option<Address> {
        while self.asked.len() < MOST {
            let address = self.waiting.pop_front()?;
            if self.asked.insert(address.clone()) {
                return Some(address);
            }
        }
        None
    }

    fn good(&self) -> usize {
        self.views.iter().filter(|view| !view.claims.is_empty() && !view.is_cut_off()).count()
    }

    fn take(&mut self, view: View) {
        self.waiting.extend(view.claims.iter().map(|claim| claim.address.clone()));
        // A node that has two addresses has one voice.
        if view.me.is_none() || self.views.iter().all(|other| other.me != view.me) {
            self.views.push(view);
        }
    }
}

impl Cluster {
    /// The map as this node knows it.
    async fn ask(&self, address: Address) -> Result<View> {
        let mut pipeline = Pipeline::with_capacity(2);
        for part in ["SLOTS", "NODES"] {
            let mut command = redis::cmd("CLUSTER");
            command.arg(part);
            pipeline.add_command(command);
        }
        let asking = async {
            if let Some(node) = self.known(&address).filter(|node| node.is_live()) {
                return node.packed(&pipeline, Access::Read).await;
            }
            // A node that is no master gets no lasting connection.
            let target = Target::one(self.info(&address));
            target.pipeline_once(&pipeline, self.context()).await
        };
        let deadline = self.context().deadline.saturating_mul(2);
        let replies = tokio::time::timeout(deadline, asking)
            .await
            .map_err(|_| error::timed_out(deadline, Access::Read))?;
        let mut replies = replies.into_iter();
        let (Some(slots), Some(nodes)) = (replies.next(), replies.next()) else {
            return Err(error::unexpected_reply(Access::Read));
        };
        let view = View::read(slots?, self.allowed(nodes), &address.0);
        view.ok_or_else(|| error::unexpected_reply(Access::Read))
    }

    /// The reply to `CLUSTER NODES`, if the user may ask that.
    fn allowed(&self, nodes: Result<Value>) -> Option<Value> {
        nodes
            .inspect_err(|error| {
                if error.kind() == ErrorKind::Denied && !self.nodes_refused.swap(true, Ordering::Relaxed) {
                    tracing::warn!(
                        %error,
                        "CLUSTER NODES is refused: of several maps of the Cluster that of the majority is taken, and not the newest"
                    );
                }
            })
            .ok()
    }
}
