//! Sends commands to the masters of their slots, and on where they are redirected.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use redis::{Cmd, Pipeline, Value};
use stanchion::key::Key;
use stanchion::random::jittered;
use stanchion::{Effect, Error, ErrorKind, Result};

use super::address::Address;
use super::doubts::Doubt;
use super::redirect::{Next, Redirects};
use super::state::Cluster;
use crate::command::{Call, Route, Routed, get, slot};
use crate::connect::node::Node;
use crate::error::{self, Access};
use crate::reply;

impl Cluster {
    /// One command at the master of its slot, following redirects.
    pub(in crate::connect) async fn command(&self, routed: &Routed, call: Call) -> Result<Value> {
        let node = self.owner(routed.route.slot)?;
        match node.command(&routed.command, call.access).await {
            // Seldom, and large: on the heap, so that it is no part of every other call's future.
            reply @ Err(_) => Box::pin(self.follow(reply, routed.route, &routed.command, call, node)).await,
            done => done,
        }
    }

    /// Reads a key at the master of its slot, together with others that are read there at the same time.
    pub(in crate::connect) async fn get(&self, key: &Key, deadline: Duration) -> Result<Option<Bytes>> {
        let (started, stored) = (self.now(), self.context().layout.key(key));
        let slot = Some(slot(stored.as_bytes()));
        let node = self.owner(slot)?;
        let error = match node.get(key, deadline).await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        // What is redirected is sent singly.
        let command = get(&stored);
        let route = Route { slot, retry_split: true };
        let call = Call { until: Some(started.saturating_add(deadline)), ..Call::read("cache.get") };
        let following = Box::pin(self.follow(Err(error), route, &command, call, node));
        let left = deadline.saturating_sub(self.now().saturating_since(started));
        match tokio::time::timeout(left, following).await {
            Ok(reply) => reply::read_value(reply?),
            Err(_) => Err(error::timed_out(deadline, Access::Read)),
        }
    }

    /// The reply to a command, after all redirects. `node` is the one that this reply came from.
    async fn follow(
        &self,
        mut reply: Result<Value>,
        route: Route,
        command: &Cmd,
        call: Call,
        mut node: Arc<Node>,
    ) -> Result<Value> {
        let mut redirects = Redirects::new(route);
        let mut sent_back = false;
        loop {
            let error = match reply {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let decision = redirects.decide(&error, node.target().host());
            let at = address_of(&node);
            if decision.refresh {
                self.doubt(Doubt::after(&error, at.clone()));
            }
            reply = match decision.next {
                Next::GiveUp => return Err(error),
                // A master was replaced behind its address, and the connection is still to the one that was there before.
                Next::Send(address) if address == at => {
                    self.renew_and_wait(&address, &node, sent_back).await;
                    sent_back = true;
                    node.one(command, call).await
                }
                Next::Send(address) => {
                    node = self.node(&address).await?;
                    self.redirected(route.slot, &node);
                    node.one(command, call).await
                }
                Next::Ask(address) => {
                    node = self.node(&address).await?;
                    self.redirected(route.slot, &node);
                    ask(&node, command, call).await
                }
                Next::RetryAfter(pause) => {
                    let environment = &self.context().environment;
                    let pause = jittered(&*environment.random, pause);
                    // The refusal says more than a timeout would: nothing was done.
                    if call.until.is_some_and(|until| self.now().saturating_add(2 * pause) >= until) {
                        return Err(error);
                    }
                    environment.sleep(pause).await;
                    node = self.owner(route.slot)?;
                    node.one(command, call).await
                }
            };
        }
    }

    /// Many commands, one write per master, the replies in their order.
    pub(in crate::connect) async fn batch(&self, commands: Vec<Routed>, call: Call) -> Vec<Result<Value>> {
        let count = commands.len();
        let mut replies = Vec::with_capacity(count);
        let mut groups: Vec<Group> = Vec::new();
        for (index, Routed { route, command }) in commands.into_iter().enumerate() {
            match self.owner(route.slot) {
                Ok(node) => {
                    let found = groups.iter().position(|group| Arc::ptr_eq(&group.node, &node));
                    let place = found.unwrap_or_else(|| {
                        groups.push(Group { node, pipeline: Pipeline::new(), members: Vec::new() });
                        groups.len() - 1
                    });
                    groups[place].pipeline.add_command(command);
                    groups[place].members.push((index, route));
                }
                Err(error) => replies.push((index, Err(error))),
            }
        }
        let written = groups.iter().map(|group| self.write_group(group, call));
        replies.extend(join_all(written).await.into_iter().flatten());
        replies.sort_unstable_by_key(|(index, _)| *index);
        replies.into_iter().map(|(_, reply)| reply).collect()
    }

    /// The commands for one master, and their replies with their places in the batch.
    async fn write_group(&self, group: &Group, call: Call) -> Vec<(usize, Result<Value>)> {
        let first = group.node.batch(&group.pipeline, call).await;
        let mut replies = Vec::with_capacity(first.len());
        let mut overdue: Option<Error> = None;
        let sent = group.members.iter().zip(group.pipeline.cmd_iter());
        for ((&(index, route), command), reply) in sent.zip(first) {
            // Only what is redirected is sent singly, and in order.
            let reply = match (reply, &overdue) {
                // The wait for a node that is silent is not repeated for each.
                (Err(refused), Some(overdue)) if Redirects::are_meant_by(&refused) => {
                    Err(overdue.clone().with_effect(Effect::NotApplied))
                }
                (reply @ Err(_), _) => {
                    let node = Arc::clone(&group.node);
                    let reply = Box::pin(self.follow(reply, route, command, call, node)).await;
                    overdue =
                        reply.as_ref().err().filter(|error| error.kind() == ErrorKind::Timeout).cloned();
                    reply
                }
                (done, _) => done,
            };
            replies.push((index, reply));
        }
        replies
    }
}

/// The commands of a batch for one master, with their places in the batch.
struct Group {
    node: Arc<Node>,
    pipeline: Pipeline,
    members: Vec<(usize, Route)>,
}

fn address_of(node: &Node) -> Address {
    let (host, port) = node.target().host_and_port();
    (host.to_owned(), port.unwrap_or_default())
}

/// Sends a command to a node that is only about to get its slot.
async fn ask(node: &Node, command: &Cmd, call: Call) -> Result<Value> {
    let mut pipeline = Pipeline::with_capacity(2);
    pipeline.add_command(redis::cmd("ASKING"));
    pipeline.add_command(command.clone());
    let replies = node.batch(&pipeline, call).await;
    replies.into_iter().nth(1).unwrap_or_else(|| Err(error::unexpected_reply(call.access)))
}
