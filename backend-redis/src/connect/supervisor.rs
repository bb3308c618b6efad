//! Opens nodes, and keeps them connected: one task for each, with heartbeats and back-off.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::thread;
use std::time::Duration;

use redis::{ConnectionAddr, Pipeline, PushInfo};
use stanchion::random::jittered;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::connection::{Connection, ConnectionEvents};
use super::context::Context;
use super::node::Node;
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
    let (node, mut supervisor) = Supervisor::of(target, purpose_of(pushes.as_ref()), pushes, context);
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
    let (node, mut supervisor) = Supervisor::of(target, purpose_of(pushes.as_ref()), pushes, context);
    if let Err(error) = supervisor.connect_once(&node, 0).await {
        tracing::warn!(server = %node.target().label(), %error, "not connected yet");
        node.request_heartbeat();
    }
    context.environment.tasks.spawn(supervisor.run(Arc::downgrade(&node)))?;
    Ok(node)
}

/// A connection to a server, for this purpose, that no pushes come by. Not waited for: the answer changes to true when there was
/// an attempt.
pub(super) fn open_beside(
    target: Target,
    purpose: Purpose,
    context: &Arc<Context>,
) -> Result<(Arc<Node>, watch::Receiver<bool>)> {
    let (node, mut supervisor) = Supervisor::of(target, purpose, None, context);
    let (attempted, tried) = watch::channel(false);
    let weak = Arc::downgrade(&node);
    let closing = context.environment.tasks.closing();
    context.environment.tasks.spawn(async move {
        let first = async {
            if let Some(node) = weak.upgrade()
                && let Err(error) = supervisor.connect_once(&node, 0).await
            {
                tracing::warn!(server = %node.target().label(), %error, "not connected yet");
                node.request_heartbeat();
            }
        };
        tokio::select! {
            () = closing => {}
            () = first => {}
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
    // Where the connection was made to that was made last.
    used: Option<ConnectionAddr>,
    // Where it was last tried to make one to.
    tried: Option<ConnectionAddr>,
}

impl Supervisor {
    /// A node without a connection yet, and its supervisor.
    fn of(
        target: Target,
        purpose: Purpose,
        pushes: Option<Arc<dyn PushHandler>>,
        context: &Arc<Context>,
    ) -> (Arc<Node>, Self) {
        let (node, heartbeats) = Node::new(target, purpose, pushes, context, open_beside);
        let context = Arc::clone(context);
        (node, Self { context, heartbeats, pause: FIRST_PAUSE, used: None, tried: None })
    }

    async fn connect_once(&mut self, node: &Arc<Node>, attempt: u32) -> Result<()> {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        let events = Arc::new(NodeEvents {
            node: Arc::downgrade(node),
            generation,
            pushes: node.pushes().cloned(),
            broken: AtomicBool::new(false),
        });
        let mut tried = None;
        let connecting = async {
            let info = node.target().address(attempt).await?;
            let address = &*tried.insert(info.addr().clone());
            let opening = async {
                let listener = Some(Arc::clone(&events) as Arc<dyn ConnectionEvents>);
                let (connection, server) =
                    Connection::open(&info, listener, node.purpose(), &self.context).await?;
                self.check_role(&server, &address.to_string())?;
                if let Some(pushes) = node.pushes() {
                    pushes.connected(connection.clone(), generation).await?;
                }
                // Last, since it may be that others are given up for this one.
                self.arrives(node, &server, &events)?;
                Ok((connection, server, address.clone()))
            };
            tokio::select! {
                biased;
                opened = opening => opened,
                // One that hangs must not keep the news that it was replaced.
                () = replaced(node.target(), address) => {
                    Err(Error::new(ErrorKind::Unavailable, "another server is to be used by now"))
                }
            }
        };
        let bound = self.context.connecting();
        let connected = tokio::time::timeout(bound, connecting).await;
        let connected = connected.unwrap_or_else(|_| Err(error::timed_out(bound, Access::Read)));
        self.tried = tried.or(self.tried.take());
        let (connection, server, used) = connected.inspect_err(|why| node.stay_down(why))?;
        self.used = Some(used);
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

    fn run(self, node: Weak<Node>) -> impl Future<Output = ()> {
        // Made before the task is: it may end before it has begun.
        let ending = Ending { node: Weak::clone(&node), context: Arc::clone(&self.context), expected: false };
        self.supervise(node, ending)
    }

    async fn supervise(mut self, node: Weak<Node>, ending: Ending) {
        let environment = self.context.environment.clone();
        let closing = environment.tasks.closing();
        let supervised = async {
            let mut since = environment.clock.now();
            let Some(target) = node.upgrade().map(|node| node.target().clone()) else { return };
            loop {
                let dropped = tokio::select! {
                    changed = self.heartbeats.changed() => changed.is_err(),
                    () = target.changed(self.used.as_ref()) => false,
                    () = environment.sleep(self.context.ping_every) => false,
                };
                if dropped {
                    return;
                }
                leave_if_changed(&node, &target, self.used.as_ref());
                self.heartbeat(&node, &target).await;
                leave_if_changed(&node, &target, self.used.as_ref());
                let Some(live) = node.upgrade().map(|node| node.is_live()) else {
                    return;
                };
                if !live {
                    if environment.clock.now().saturating_since(since) > LONGEST_PAUSE {
                        self.pause = FIRST_PAUSE;
                    }
                    self.reconnect(&node, &target).await;
                    since = environment.clock.now();
                }
            }
        };
        tokio::select! {
            () = closing => {}
            () = supervised => {}
        }
        ending.dismiss();
    }

    /// Checks that the connection lives, if there is one, and gives it up if it does not. It may take long, while much comes
    /// from the server: so the node is not held, and who gives the connection up meanwhile is not kept waiting.
    ///
    /// It sends `TIME`, whose reply is of use. In the same write the server is asked for its role: one that was a master
    /// and is none keeps its connections.
    async fn heartbeat(&mut self, node: &Weak<Node>, target: &Target) {
        let Some(strong) = node.upgrade() else {
            return;
        };
        let (Ok((connection, generation)), role_by) = (strong.connection(), strong.role_by()) else {
            return;
        };
        drop(strong);
        let mut requests = Pipeline::with_capacity(2);
        requests.add_command(redis::cmd("TIME"));
        if let Some(role_by) = role_by {
            requests.add_command(role_by.command());
        }
        let Self { context, heartbeats, used, .. } = self;
        let clock = &context.environment.clock;
        let (started, sent_at) = (context.time.started(), clock.now());
        let mut reply = pin!(connection.heartbeat(&requests, context));
        let reply = loop {
            let changed = tokio::select! {
                reply = &mut reply => break reply,
                // Where another one is wanted, this is it.
                changed = heartbeats.changed() => changed.is_ok(),
                () = target.changed(used.as_ref()) => used.as_ref().is_none_or(|used| target.is_current(used)),
            };
            let current = node.upgrade().and_then(|node| node.connection().ok());
            if !changed || current.is_none_or(|(_, current)| current != generation) {
                return;
            }
        };
        let Some(node) = node.upgrade() else {
            return;
        };
        let Ok(replies) = reply else {
            return node.give_up(generation);
        };
        let round_trip = clock.now().saturating_since(sent_at);
        context.telemetry.of(node.purpose()).round_trip(round_trip);
        let mut replies = replies.into_iter();
        context.time.update_from(started, replies.next().unwrap_or_default());
        if let (Some(role_by), Some(reply)) = (role_by, replies.next())
            && role_by.role_in(&reply) == Some(Role::Replica)
        {
            context.servers.is_replica(node.number(), generation, node.target().label());
        }
    }

    /// Tries until it is connected. The pauses grow on from one call to the next, unless the connection had
    /// lasted: a server that takes connections and drops them is tried with those pauses too.
    async fn reconnect(&mut self, node: &Weak<Node>, target: &Target) {
        let environment = self.context.environment.clone();
        let nap = |pause| environment.sleep(jittered(&*environment.random, pause));
        let mut attempt = 0;
        loop {
            tokio::select! {
                () = nap(self.pause) => self.pause = (self.pause * 2).min(LONGEST_PAUSE),
                // The pauses were for a server that is not waited for any more. Once for each server, since there may be no other.
                () = is_replaced(target, self.tried.as_ref()) => {
                    (self.tried, self.pause) = (None, FIRST_PAUSE);
                    nap(FIRST_PAUSE).await;
                }
            }
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

/// Ends when the server at this address is not to be used any more.
async fn replaced(target: &Target, address: &ConnectionAddr) {
    while target.is_current(address) {
        target.changed(Some(address)).await;
    }
}

/// The same, if any server was tried.
async fn is_replaced(target: &Target, tried: Option<&ConnectionAddr>) {
    match tried {
        Some(address) => replaced(target, address).await,
        None => std::future::pending().await,
    }
}

/// Gives up the connection to a server that is not chosen any more.
fn leave_if_changed(node: &Weak<Node>, target: &Target, used: Option<&ConnectionAddr>) {
    if used.is_some_and(|used| !target.is_current(used))
        && let Some(node) = node.upgrade()
        && let Ok((_, generation)) = node.connection()
    {
        tracing::info!(server = %target.label(), "leaving a server that is not to be used any more");
        node.give_up(generation);
    }
}

/// Tells the node if its supervisor ends before it: with the runtime, which is shut down, or by a panic. Nobody reconnects
/// any more then, and calls have to know why.
struct Ending {
    node: Weak<Node>,
    context: Arc<Context>,
    expected: bool,
}

impl Ending {
    fn dismiss(mut self) {
        self.expected = true;
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        if self.expected || self.context.environment.tasks.is_closing() {
            return;
        }
        let Some(node) = self.node.upgrade() else {
            return;
        };
        let why = if thread::panicking() {
            Error::new(ErrorKind::Internal, "the task that keeps the connection has ended unexpectedly")
        } else {
            error::runtime_ended(Access::Read)
        };
        let server = node.target().label();
        tracing::debug!(%server, error = %why, "the connection is not restored any more");
        node.stay_down(&why);
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
