//! Opens nodes, and keeps them connected: one task for each, with heartbeats and back-off.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::{Pipeline, PushInfo};
use stanchion::random::jittered;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::connection::{Connection, ConnectionEvents};
use super::context::Context;
use super::node::Node;
use super::progress::while_it_comes;
use super::purpose::Purpose;
use super::push::PushHandler;
use super::reached::GiveUp;
use super::server_info::{Role, ServerInfo};
use super::target::Target;
use crate::error::{self, Access};

/// The first attempt to reconnect is jittered too: all clients of a server lose it at the same moment.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Connects once, and supervises the connection from then on.
pub(crate) async fn open(
    target: Target,
    pushes: Option<Arc<dyn PushHandler>>,
    context: &Arc<Context>,
) -> Result<Arc<Node>> {
    let (node, supervisor) = Supervisor::of(target, purpose_of(pushes.as_ref()), pushes, context);
    supervisor.connect_once(&node, 0).await?;
    context.environment.tasks.spawn(supervisor.run(Arc::downgrade(&node)))?;
    Ok(node)
}

/// Like [`open`], but a server that can't be reached yet is a node that is down: its supervisor goes on trying.
pub(crate) async fn open_or_wait(
    target: Target,
    pushes: Option<Arc<dyn PushHandler>>,
    context: &Arc<Context>,
) -> Result<Arc<Node>> {
    let (node, supervisor) = Supervisor::of(target, purpose_of(pushes.as_ref()), pushes, context);
    if let Err(error) = supervisor.connect_once(&node, 0).await {
        tracing::warn!(server = %node.target().label(), %error, "not connected yet");
        node.request_heartbeat();
    }
    context.environment.tasks.spawn(supervisor.run(Arc::downgrade(&node)))?;
    Ok(node)
}

/// Another connection to a server, for this purpose. Not waited for: the answer changes to true when there was an attempt.
pub(super) fn open_beside(
    target: Target,
    purpose: Purpose,
    context: &Arc<Context>,
) -> Result<(Arc<Node>, watch::Receiver<bool>)> {
    let (node, supervisor) = Supervisor::of(target, purpose, None, context);
    let (attempted, tried) = watch::channel(false);
    let weak = Arc::downgrade(&node);
    context.environment.tasks.spawn(async move {
        if let Some(node) = weak.upgrade()
            && let Err(error) = supervisor.connect_once(&node, 0).await
        {
            tracing::warn!(server = %node.target().label(), %error, "not connected yet");
            node.request_heartbeat();
        }
        attempted.send_replace(true);
        supervisor.run(weak).await;
    })?;
    Ok((node, tried))
}

fn purpose_of(pushes: Option<&Arc<dyn PushHandler>>) -> Purpose {
    pushes.map_or(Purpose::Commands, |pushes| pushes.purpose())
}

struct Supervisor {
    context: Arc<Context>,
    // Changes when a heartbeat is wanted at once; closes with the node.
    heartbeats: watch::Receiver<u64>,
    // Before the next attempt to reconnect.
    pause: Duration,
}

impl Supervisor {
    /// A node without a connection yet, and its supervisor.
    fn of(
        target: Target,
        purpose: Purpose,
        pushes: Option<Arc<dyn PushHandler>>,
        context: &Arc<Context>,
    ) -> (Arc<Node>, Self) {
        let (node, heartbeats) = Node::new(target, purpose, pushes, context);
        (node, Self { context: Arc::clone(context), heartbeats, pause: FIRST_PAUSE })
    }

    async fn connect_once(&self, node: &Arc<Node>, attempt: u32) -> Result<()> {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        let deadline = self.context.deadline;
        let events = Arc::new(NodeEvents {
            node: Arc::downgrade(node),
            generation,
            pushes: node.pushes().cloned(),
            broken: AtomicBool::new(false),
        });
        let connecting = async {
            let info = node.target().address(attempt)?;
            let listener = Some(Arc::clone(&events) as Arc<dyn ConnectionEvents>);
            let (connection, server) =
                Connection::open(&info, listener, node.purpose(), &self.context).await?;
            self.check_role(&server, &info.addr().to_string())?;
            if let Some(pushes) = node.pushes() {
                pushes.connected(connection.clone(), generation).await?;
            }
            // Last, since it may be that others are given up for this one.
            self.arrives(node, &server, &events)?;
            Ok((connection, server))
        };
        // One for the credentials, one for being let in by them, and one for what is to be prepared then.
        let bound = deadline.saturating_mul(3);
        let connected = tokio::time::timeout(bound, connecting).await;
        let connected = connected.unwrap_or_else(|_| Err(error::timed_out(bound, Access::Read)));
        let (connection, server) = connected.inspect_err(|why| node.stay_down(why))?;
        if node.go_live(connection, generation, server.role_by, &events.broken) {
            return Ok(());
        }
        self.context.servers.leaves(node.number(), generation);
        node.report(Some(false));
        Err(Error::new(ErrorKind::Unavailable, "the connection broke as soon as it was made"))
    }

    /// A replica's copies may be old, and it takes no writes. On a Cluster it says itself where to go.
    fn check_role(&self, server: &ServerInfo, address: &str) -> Result<()> {
        if self.context.cluster || server.role != Some(Role::Replica) {
            return Ok(());
        }
        let why = format!(
            "{address} is a replica: a failover may be under way, or else the address is not that of the master"
        );
        Err(Error::new(ErrorKind::Unavailable, why))
    }

    /// Whether this connection may be used beside the others.
    fn arrives(&self, node: &Arc<Node>, server: &ServerInfo, events: &Arc<NodeEvents>) -> Result<()> {
        if self.context.cluster {
            return Ok(());
        }
        let (place, events) = ((node.number(), events.generation), Arc::clone(events));
        let now = self.context.environment.clock.now();
        self.context.servers.arrives(place, node.purpose(), server.id.clone(), events, now)
    }

    async fn run(mut self, node: Weak<Node>) {
        let environment = self.context.environment.clone();
        let closing = environment.tasks.closing();
        let supervised = async {
            let mut since = environment.clock.now();
            let Some(target) = node.upgrade().map(|node| node.target().clone()) else { return };
            loop {
                let dropped = tokio::select! {
                    changed = self.heartbeats.changed() => changed.is_err(),
                    () = target.changed() => false,
                    () = environment.sleep(self.context.ping_every) => false,
                };
                let Some(node) = node.upgrade().filter(|_| !dropped) else {
                    return;
                };
                if !target.is_current()
                    && let Ok((_, generation)) = node.connection()
                {
                    tracing::info!(server = %target.label(), "leaving a server that is not to be used any more");
                    node.give_up(generation);
                }
                if node.is_live() {
                    self.heartbeat(&node).await;
                }
                if !node.is_live() {
                    let weak = Arc::downgrade(&node);
                    drop(node);
                    if environment.clock.now().saturating_since(since) > LONGEST_PAUSE {
                        self.pause = FIRST_PAUSE;
                    }
                    self.reconnect(&weak).await;
                    since = environment.clock.now();
                }
            }
        };
        tokio::select! {
            () = closing => {}
            () = supervised => {}
        }
    }

    /// Sends `TIME`, which is as good as a `PING`, and whose reply is of use. A refusal is a reply too. In the same write the
    /// server is asked for its role: one that was a master and is none keeps its connections.
    async fn heartbeat(&self, node: &Arc<Node>) {
        let Ok((connection, generation)) = node.connection() else {
            return;
        };
        let clock = &self.context.environment.clock;
        let (started, sent_at) = (self.context.time.started(), clock.now());
        let role_by = node.role_by();
        let mut requests = Pipeline::with_capacity(2);
        requests.add_command(redis::cmd("TIME"));
        if let Some(role_by) = role_by {
            requests.add_command(role_by.command());
        }
        // Behind large replies its own may come late: silence is what a dead connection is known by.
        let pinging = connection.pipeline(&requests, Access::Read);
        let reply = while_it_comes(&connection, self.context.deadline, Access::Read, pinging).await;
        let Ok(replies) = reply else {
            return node.give_up(generation);
        };
        let round_trip = clock.now().saturating_since(sent_at);
        self.context.telemetry.of(node.purpose()).round_trip(round_trip);
        let mut replies = replies.into_iter();
        self.context.time.update_from(started, replies.next().unwrap_or_default());
        if let (Some(role_by), Some(reply)) = (role_by, replies.next())
            && role_by.role_in(&reply) == Some(Role::Replica)
        {
            self.context.servers.is_replica(node.number(), generation, node.target().label());
        }
    }

    /// Tries until it is connected. The pauses grow on from one call to the next, unless the connection had
    /// lasted: a server that takes connections and drops them is not hammered.
    async fn reconnect(&mut self, node: &Weak<Node>) {
        let environment = self.context.environment.clone();
        let mut attempt = 0;
        loop {
            environment.sleep(jittered(&*environment.random, self.pause)).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            let Some(node) = node.upgrade() else {
                return;
            };
            let server = node.target().label();
            match self.connect_once(&node, attempt).await {
                Ok(()) => {
                    self.context.telemetry.of(node.purpose()).reconnected();
                    tracing::info!(%server, "reconnected");
                    return;
                }
                Err(error) => {
                    tracing::warn!(%server, %error, attempt, "can't reconnect yet");
                }
            }
            attempt = attempt.saturating_add(1);
        }
    }
}

/// Hands to the node what happens on one of its connections.
struct NodeEvents {
    node: Weak<Node>,
    generation: u64,
    pushes: Option<Arc<dyn PushHandler>>,
    broken: AtomicBool,
}

impl GiveUp for NodeEvents {
    fn give_up(&self) {
        // The connection may not be in use yet.
        self.broken.store(true, Ordering::Release);
        if let Some(node) = self.node.upgrade() {
            node.give_up(self.generation);
        }
    }
}

impl ConnectionEvents for NodeEvents {
    fn pushed(&self, info: PushInfo) {
        if let Some(pushes) = &self.pushes {
            pushes.pushed(info);
        }
    }

    fn broken(&self) {
        self.give_up();
    }
}
