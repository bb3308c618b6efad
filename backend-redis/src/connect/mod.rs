//! The way to the server: one [`Link`] for all commands, standalone or Cluster.

mod call;
mod cluster;
mod connection;
mod context;
mod health;
mod node;
mod slots;
mod supervisor;
mod target;
mod time;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Value};
use stanchion::key::Key;
use stanchion::{Error, ErrorKind, Result};

pub(crate) use self::call::Call;
use self::cluster::Cluster;
pub(crate) use self::connection::Connection;
pub(crate) use self::context::Context;
pub(crate) use self::health::Board;
pub(crate) use self::node::{Node, PushHandler};
pub(crate) use self::slots::slot;
pub(crate) use self::target::Target;
pub(crate) use self::time::{ServerTime, of_parts};
use crate::config::RedisConfig;
use crate::error::{self, Access, Repeat};
use crate::reply;
use crate::scripts::{Form, Script};

/// A command and the slot it belongs to; without a slot any node will do.
#[derive(Debug, Clone)]
pub(crate) struct Routed {
    pub(crate) route: Route,
    pub(crate) command: Cmd,
}

/// Where a command belongs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    pub(crate) slot: Option<u16>,
    /// Whether to wait while its keys are apart, because their slot is being moved.
    pub(crate) patient: bool,
}

impl Routed {
    pub(crate) fn new(key: &str, command: Cmd) -> Self {
        Self { route: Route { slot: Some(slot(key.as_bytes())), patient: true }, command }
    }

    pub(crate) fn anywhere(command: Cmd) -> Self {
        Self { route: Route { slot: None, patient: true }, command }
    }

    /// Answered as it is where its keys are apart.
    pub(crate) fn impatient(mut self) -> Self {
        self.route.patient = false;
        self
    }

    /// `GET`, and not `MGET`, where a list at the key must be an error.
    pub(crate) fn get(key: &str) -> Self {
        Self::new(key, get(key))
    }
}

/// Who must know of every master before it is asked anything.
pub(crate) trait Masters: Send + Sync + 'static {
    /// These are the masters from now on. Must not wait, nor call the link.
    fn are(&self, masters: &[Target]);

    /// A call had no answer in time: a link may be dead.
    fn suspect(&self);
}

/// The one that is told of the masters, once there is one.
type Observer = OnceLock<Weak<dyn Masters>>;

fn observer(observer: &Observer) -> Option<Arc<dyn Masters>> {
    observer.get().and_then(Weak::upgrade)
}

#[derive(Debug)]
enum Topology {
    Standalone(Arc<Node>),
    Cluster(Arc<Cluster>),
}

/// The connections that carry commands. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Link(Arc<Inner>);

struct Inner {
    topology: Topology,
    deadline: Duration,
    closed: AtomicBool,
    observer: Arc<Observer>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.topology.fmt(f)
    }
}

impl Link {
    /// Connects; one attempt.
    pub(crate) async fn open(config: &RedisConfig, context: &Arc<Context>) -> Result<Self> {
        let observer = Arc::new(Observer::new());
        let topology = if config.cluster {
            Topology::Cluster(Cluster::open(config, context, &observer).await?)
        } else {
            let target = Target::one(config.addresses[0].clone());
            Topology::Standalone(Node::open(target, None, context).await?)
        };
        let closed = AtomicBool::new(false);
        Ok(Self(Arc::new(Inner { topology, deadline: config.deadline, closed, observer })))
    }

    /// Tells of the masters from now on, each before it is asked anything.
    pub(crate) fn observe(&self, masters: Weak<dyn Masters>) {
        // There is one for the life of the backend.
        let _ = self.0.observer.set(masters);
        match &self.0.topology {
            Topology::Standalone(node) => {
                if let Some(masters) = observer(&self.0.observer) {
                    masters.are(&[node.target().clone()]);
                }
            }
            Topology::Cluster(cluster) => cluster.tell_masters(),
        }
    }

    /// Answers `Closed` from now on.
    pub(crate) fn close(&self) {
        self.0.closed.store(true, Ordering::Release);
        match &self.0.topology {
            Topology::Standalone(node) => node.close(),
            Topology::Cluster(cluster) => cluster.close(),
        }
    }

    /// A target for another connection to the same deployment, to whichever node answers.
    pub(crate) fn any_target(&self) -> Target {
        match &self.0.topology {
            Topology::Standalone(node) => node.target().clone(),
            Topology::Cluster(cluster) => cluster.any_target(),
        }
    }

    fn check_open(&self, call: Call) -> Result<()> {
        if self.0.closed.load(Ordering::Acquire) {
            return Err(call.named(Error::new(ErrorKind::Closed, "the backend is closed")));
        }
        Ok(())
    }

    /// Runs one operation within the deadline, and names it in its error. It is made here: one that was handed over
    /// would be in this future twice.
    async fn within<T, F>(&self, call: Call, work: impl FnOnce() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        self.check_open(call)?;
        let deadline = call.deadline.unwrap_or(self.0.deadline);
        let Ok(outcome) = tokio::time::timeout(deadline, work()).await else {
            self.suspect();
            return Err(call.named(error::timed_out(deadline, call.access)));
        };
        outcome.map_err(|error| call.named(error))
    }

    /// An answer is overdue; a ping of each connection tells which links are dead.
    fn suspect(&self) {
        match &self.0.topology {
            Topology::Standalone(node) => node.suspect(),
            Topology::Cluster(cluster) => cluster.suspect(),
        }
        if let Some(masters) = observer(&self.0.observer) {
            masters.suspect();
        }
    }

    async fn execute(&self, call: Call, routed: &Routed) -> Result<Value> {
        match &self.0.topology {
            Topology::Standalone(node) => node.command(&routed.command, call.access).await,
            Topology::Cluster(cluster) => cluster.command(routed, call.access).await,
        }
    }

    /// Reads a key, together with others that are read at the same time.
    pub(crate) async fn get(&self, call: Call, key: &Key) -> Result<Option<Bytes>> {
        self.check_open(call)?;
        let deadline = call.deadline.unwrap_or(self.0.deadline);
        let answer = match &self.0.topology {
            Topology::Standalone(node) => node.get(key, deadline).await,
            Topology::Cluster(cluster) => cluster.get(key, deadline).await,
        };
        answer.map_err(|error| {
            if error.kind() == ErrorKind::Timeout {
                self.suspect();
            }
            call.named(error)
        })
    }

    /// One command for any node.
    pub(crate) async fn anywhere(&self, call: Call, command: Cmd) -> Result<Value> {
        let routed = Routed::anywhere(command);
        self.within(call, || self.execute(call, &routed)).await
    }

    async fn write(&self, call: Call, commands: Vec<Routed>) -> Vec<Result<Value>> {
        match &self.0.topology {
            _ if commands.is_empty() => Vec::new(),
            Topology::Standalone(node) => node.pipeline(commands, call.access).await,
            Topology::Cluster(cluster) => cluster.batch(commands, call.access).await,
        }
    }

    /// Many commands in one pipelined write per master; the replies in the order of the commands. An error
    /// of one command is its own; a lost connection is that of all its commands.
    pub(crate) async fn batch(&self, call: Call, commands: Vec<Routed>) -> Result<Vec<Result<Value>>> {
        let replies = self.within(call, || async { Ok(self.write(call, commands).await) }).await?;
        Ok(replies.into_iter().map(|reply| reply.map_err(|error| call.named(error))).collect())
    }

    /// A script on the keys of one slot.
    pub(crate) async fn script(
        &self,
        call: Call,
        script: &Script,
        keys: &[&str],
        args: &[&[u8]],
    ) -> Result<Value> {
        self.scripted(call, |form| script.routed(form, keys, args)).await
    }

    /// As [`script`](Self::script), by what makes its command.
    pub(crate) async fn scripted(&self, call: Call, build: impl Fn(Form) -> Routed) -> Result<Value> {
        let work = || async {
            match self.execute(call, &build(Form::Hash)).await {
                // The server forgot it, or never knew it: it has done nothing.
                Err(error) if is_unknown_script(&error) => {
                    let again = build(Form::Source);
                    Box::pin(self.execute(call, &again)).await
                }
                outcome => outcome,
            }
        };
        self.within(call, work).await
    }

    /// Many scripts in one pipelined write per master, and in a second one those that a server did not know;
    /// `build` makes the command of each, by its place. The replies as those of [`batch`](Self::batch).
    ///
    /// Of scripts on the same key the first may so run last: where that matters, build all in their
    /// [source](Form::Source).
    pub(crate) async fn scripts(
        &self,
        call: Call,
        count: usize,
        build: impl Fn(usize, Form) -> Routed,
    ) -> Result<Vec<Result<Value>>> {
        let replies = self.within(call, || async { Ok(self.run(call, count, build).await) }).await?;
        Ok(replies.into_iter().map(|reply| reply.map_err(|error| call.named(error))).collect())
    }

    async fn run(
        &self,
        call: Call,
        count: usize,
        build: impl Fn(usize, Form) -> Routed,
    ) -> Vec<Result<Value>> {
        let mut replies = self.write(call, (0..count).map(|at| build(at, Form::Hash)).collect()).await;
        let refused = places(&replies, is_unknown_script);
        if refused.is_empty() {
            return replies;
        }
        let again = refused.iter().map(|at| build(*at, Form::Source)).collect();
        for (at, second) in refused.iter().zip(Box::pin(self.write(call, again)).await) {
            replies[*at] = second;
        }
        replies
    }

    /// As [`scripts`](Self::scripts), for scripts that change an entry and void the lease on it.
    ///
    /// While their slot is being moved the two may be apart, and no script gets at both. Then the lease is voided first,
    /// and the entry changed after it. That is as good: a lease that is granted in between is for a load that begins after
    /// what this change follows from, and whatever was being loaded before has lost its lease.
    pub(crate) async fn leased(
        &self,
        call: Call,
        count: usize,
        build: impl Fn(usize, Part, Form) -> Routed,
    ) -> Result<Vec<Result<Value>>> {
        let replies = self.within(call, || async { Ok(self.run_leased(call, count, build).await) }).await?;
        Ok(replies.into_iter().map(|reply| reply.map_err(|error| call.named(error))).collect())
    }

    async fn run_leased(
        &self,
        call: Call,
        count: usize,
        build: impl Fn(usize, Part, Form) -> Routed,
    ) -> Vec<Result<Value>> {
        let replies = self.run(call, count, |at, form| build(at, Part::Both, form).impatient()).await;
        let apart = places(&replies, is_apart);
        if apart.is_empty() { replies } else { Box::pin(self.run_apart(call, replies, apart, build)).await }
    }

    /// Those whose entry and lease are apart.
    async fn run_apart(
        &self,
        call: Call,
        mut replies: Vec<Result<Value>>,
        apart: Vec<usize>,
        build: impl Fn(usize, Part, Form) -> Routed,
    ) -> Vec<Result<Value>> {
        let leases = apart.iter().map(|at| build(*at, Part::Lease, Form::Hash)).collect();
        let voided = self.write(call, leases).await;
        let free: Vec<_> = places_of(&apart, &voided);
        let changed = self.run(call, free.len(), |at, form| build(free[at], Part::Entry, form)).await;
        for (at, reply) in apart.iter().zip(voided).filter(|(_, reply)| reply.is_err()) {
            replies[*at] = reply;
        }
        for (at, reply) in free.iter().zip(changed) {
            replies[*at] = reply;
        }
        replies
    }

    /// As [`leased`](Self::leased), for one.
    pub(crate) async fn leased_one(&self, call: Call, build: impl Fn(Part, Form) -> Routed) -> Result<Value> {
        let both = |form| build(Part::Both, form).impatient();
        let work = || async {
            let reply = match self.execute(call, &both(Form::Hash)).await {
                Err(error) if is_unknown_script(&error) => {
                    let again = both(Form::Source);
                    Box::pin(self.execute(call, &again)).await
                }
                outcome => outcome,
            };
            match reply {
                Err(error) if is_apart(&error) => {
                    let one = |_, part, form| build(part, form);
                    let replies = Box::pin(self.run_apart(call, vec![Err(error)], vec![0], one)).await;
                    replies.into_iter().next().unwrap_or_else(|| Err(call.unexpected()))
                }
                outcome => outcome,
            }
        };
        self.within(call, work).await
    }
}

/// What a change of a cached entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The entry, and the lease on it.
    Both,
    /// The lease alone.
    Lease,
    /// The entry alone.
    Entry,
}

/// The places of the replies that are such an error.
fn places(replies: &[Result<Value>], is: impl Fn(&Error) -> bool) -> Vec<usize> {
    (0..replies.len()).filter(|at| matches!(&replies[*at], Err(error) if is(error))).collect()
}

/// Those of the places whose reply is no error.
fn places_of(places: &[usize], replies: &[Result<Value>]) -> Vec<usize> {
    places.iter().zip(replies).filter(|(_, reply)| reply.is_ok()).map(|(at, _)| *at).collect()
}

/// The keys of a script can't be got at together now.
fn is_apart(error: &Error) -> bool {
    matches!(Repeat::of(error), Some(Repeat::Later))
}

fn is_unknown_script(error: &Error) -> bool {
    matches!(Repeat::of(error), Some(Repeat::WithSource))
}

fn get(key: &str) -> Cmd {
    let mut command = Cmd::with_capacity(2, key.len() + 3);
    command.arg("GET").arg(key);
    command
}

/// What a reply says that a key holds.
fn held(reply: Value) -> Result<Option<Bytes>> {
    reply::maybe_bytes(reply).ok_or_else(|| error::unexpected_reply(Access::Read))
}

/// An error that came as a value.
fn unwrap(value: Value, access: Access) -> Result<Value> {
    match value {
        Value::ServerError(error) => Err(error::from_server(&error, access)),
        value => Ok(value),
    }
}
