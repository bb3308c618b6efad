//! One supervised connection to one server.
//!
//! A connection that breaks is noticed at once, and one that is silently dead by its heartbeat; then the
//! [supervisor](super::supervisor) reconnects for ever. Until it is back, calls fail at once, with nothing sent.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Pipeline, Value};
use stanchion::key::Key;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::connection::Connection;
use super::context::Context;
use super::lanes::{Lanes, Opened};
use super::progress::while_it_comes;
use super::purpose::Purpose;
use super::push::PushHandler;
use super::server_info::RoleCommand;
use super::target::Target;
use super::telemetry::Operation;
use crate::command::{Call, Lane, Routed};
use crate::error::{self, Access};
use crate::reply;

/// Opens another connection to a server, for this purpose.
pub(super) type OpenBeside = fn(Target, Purpose, &Arc<Context>) -> Result<Opened<Node>>;

/// A server, and the connection to it that is in use, if there is one.
pub(crate) struct Node {
    target: Target,
    state: RwLock<State>,
    // Wakes the supervisor when the connection may be dead; dropped with the node, which ends the supervisor.
    heartbeats: watch::Sender<u64>,
    number: u64,
    purpose: Purpose,
    pushes: Option<Arc<dyn PushHandler>>,
    lanes: Lanes<Self>,
    // Opens another connection to the same server.
    open_beside: OpenBeside,
    context: Arc<Context>,
}

enum State {
    Live(Live),
    /// There is no connection; why the last attempt at one failed.
    Down(Option<Error>),
}

struct Live {
    connection: Connection,
    generation: u64,
    /// By which command the server says its role.
    role_by: Option<RoleCommand>,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.target.label())
    }
}

impl Node {
    /// Without a connection yet. Who holds the receiver keeps it [connected](super::supervisor): it changes when a heartbeat
    /// is wanted at once, and closes when the node is dropped.
    pub(super) fn new(
        target: Target,
        purpose: Purpose,
        pushes: Option<Arc<dyn PushHandler>>,
        context: &Arc<Context>,
        open_beside: OpenBeside,
    ) -> (Arc<Self>, watch::Receiver<u64>) {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let (heartbeats, wanted) = watch::channel(0);
        let node = Arc::new(Self {
            target,
            state: RwLock::new(State::Down(None)),
            heartbeats,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            purpose,
            pushes,
            lanes: Lanes::default(),
            open_beside,
            context: Arc::clone(context),
        });
        (node, wanted)
    }

    /// Which node it is: no two of a process have the same number.
    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.purpose
    }

    pub(super) fn report(&self, up: Option<bool>) {
        self.context.health.report(self.number, self.purpose(), up);
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn pushes(&self) -> Option<&Arc<dyn PushHandler>> {
        self.pushes.as_ref()
    }

    /// The connection, if there is one, and which one it is.
    pub(crate) fn connection(&self) -> Result<(Connection, u64)> {
        let state = self.state.read().unwrap_or_else(PoisonError::into_inner);
        let why = match &*state {
            State::Live(live) => return Ok((live.connection.clone(), live.generation)),
            State::Down(why) => why.clone(),
        };
        let label = self.target.label();
        Err(match why {
            // A cause that an operator has to mend keeps its kind: the caller need not wait for it.
            Some(why) if !why.kind().is_transient() => {
                Error::new(why.kind(), format!("can't reconnect to {label}: {why}")).with_source(why)
            }
            _ => Error::new(ErrorKind::Unavailable, format!("not connected to {label}; reconnecting"))
                .with_retry_after(Duration::from_millis(100)),
        })
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(*self.state.read().unwrap_or_else(PoisonError::into_inner), State::Live(_))
    }

    /// By which command the server says its role, if there is a connection and it does.
    pub(super) fn role_by(&self) -> Option<RoleCommand> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::Live(live) => live.role_by,
            State::Down(_) => None,
        }
    }

    /// One command. An error that the server answered is an `Err` as well.
    pub(crate) async fn command(&self, command: &Cmd, access: Access) -> Result<Value> {
        let (connection, generation) = self.connection()?;
        let reply = match &self.context.commands {
            None => connection.command(command, access).await,
            Some(telemetry) => {
                let work = connection.command(command, access);
                Box::pin(telemetry.one(self.target.host_and_port(), Operation::of(command), work)).await
            }
        };
        reply.inspect_err(|error| self.doubt(error, generation))
    }

    /// Reads a key, together with others that are read at the same time.
    pub(super) async fn get(&self, key: &Key, deadline: Duration) -> Result<Option<Bytes>> {
        let (connection, generation) = self.connection()?;
        let work = connection.get(key, deadline);
        let reply = match &self.context.commands {
            None => work.await,
            Some(telemetry) => {
                Box::pin(telemetry.one(self.target.host_and_port(), Operation::GET, work)).await
            }
        };
        reply.inspect_err(|error| self.doubt(error, generation))
    }

    /// Several commands in one write, on the [lane](Lane) of the call.
    pub(crate) async fn pipeline(&self, commands: Vec<Routed>, call: Call) -> Vec<Result<Value>> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for routed in commands {
            pipeline.add_command(routed.command);
        }
        self.batch(&pipeline, call).await
    }

    /// A pipeline of a call, on its lane.
    pub(super) async fn batch(&self, pipeline: &Pipeline, call: Call) -> Vec<Result<Value>> {
        let silence = call.deadline.filter(|_| call.extended);
        self.by(call.lane).await.replies_to(pipeline, call.access, silence).await
    }

    /// One command of a call, as a batch of it.
    pub(super) async fn one(&self, command: &Cmd, call: Call) -> Result<Value> {
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(command.clone());
        let replies = self.batch(&pipeline, call).await;
        replies.into_iter().next().unwrap_or_else(|| Err(error::unexpected_reply(call.access)))
    }

    /// The way for requests of this lane.
    pub(super) async fn by(&self, lane: Lane) -> &Self {
        match lane {
            Lane::Commands => self,
            lane => {
                let open = |purpose, context: &_| (self.open_beside)(self.target.clone(), purpose, context);
                let beside = self.lanes.get(lane, &self.context, open).await;
                // One that is not up has a substitute.
                beside.filter(|node| node.is_live()).map_or(self, |node| &**node)
            }
        }
    }

    /// A pipeline, all of whose replies are wanted.
    pub(super) async fn packed(&self, pipeline: &Pipeline, access: Access) -> Vec<Result<Value>> {
        self.replies_to(pipeline, access, None).await
    }

    /// The same, but no longer than until nothing has come from the server for so long, whoever it is for.
    async fn replies_to(
        &self,
        pipeline: &Pipeline,
        access: Access,
        silence: Option<Duration>,
    ) -> Vec<Result<Value>> {
        let work = self.replies(pipeline, access, silence);
        match &self.context.commands {
            Some(telemetry) => {
                Box::pin(telemetry.all(self.target.host_and_port(), Operation::of_all(pipeline), work)).await
            }
            None => work.await,
        }
    }

    async fn replies(
        &self,
        pipeline: &Pipeline,
        access: Access,
        silence: Option<Duration>,
    ) -> Vec<Result<Value>> {
        let sending = async {
            let (connection, generation) = self.connection()?;
            let replies = || connection.pipeline(pipeline, access);
            let values = match silence {
                None => replies().await?,
                Some(silence) => while_it_comes(&connection, silence, access, replies).await?,
            };
            Ok((values, generation))
        };
        match sending.await {
            Ok((values, generation)) => {
                let checked =
                    |value| reply::checked(value, access).inspect_err(|error| self.doubt(error, generation));
                values.into_iter().map(checked).collect()
            }
            Err(error) => vec![Err(error); pipeline.len()],
        }
    }

    /// A reply may say that the server is a replica: then it was the master before, and its connections are given up. On a
    /// Cluster the map of slots follows a failover.
    fn doubt(&self, error: &Error, generation: u64) {
        if self.context.cluster || !error::is_of_replica(error) {
            return;
        }
        let now = self.context.environment.clock.now();
        self.context.servers.says_it_is_a_replica(self.number, generation, self.target.label(), now);
    }

    /// Has the connection pinged at once: a command had no reply within its deadline, so that it may be half-open.
    pub(crate) fn request_heartbeat(&self) {
        self.heartbeats.send_modify(|times| *times += 1);
        self.lanes.opened().for_each(|node| node.request_heartbeat());
    }

    /// As [`give_up`](Self::give_up), also of the connections [beside](Lanes) this one.
    pub(super) fn give_up_all(&self) {
        for node in self.lanes.opened().map(|node| &**node).chain([self]) {
            if let Ok((_, generation)) = node.connection() {
                node.give_up(generation);
            }
        }
    }

    /// Nobody uses this connection any more; the supervisor makes another.
    pub(crate) fn give_up(&self, generation: u64) {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*state, State::Live(live) if live.generation == generation) {
            self.go_down(&mut state, None);
        }
        drop(state);
        self.request_heartbeat();
    }

    /// Under the lock, so that the handler is called in order.
    fn go_down(&self, state: &mut State, why: Option<Error>) {
        if let State::Live(Live { generation, .. }) = std::mem::replace(state, State::Down(why)) {
            self.context.servers.leaves(self.number, generation);
            if let Some(pushes) = &self.pushes {
                pushes.lost(generation);
            }
        }
        self.report(Some(false));
    }

    /// Puts a new connection to use, unless it broke in the meantime; answers whether it did not.
    pub(super) fn go_live(
        &self,
        connection: Connection,
        generation: u64,
        role_by: Option<RoleCommand>,
        broken: &AtomicBool,
    ) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // Set before the lock is asked for to give the connection up.
        if broken.load(Ordering::Acquire) {
            return false;
        }
        *state = State::Live(Live { connection, generation, role_by });
        self.report(Some(true));
        if let Some(pushes) = &self.pushes {
            pushes.ready(generation);
        }
        true
    }

    /// An attempt to connect has failed.
    pub(super) fn stay_down(&self, why: &Error) {
        self.go_down(&mut self.state.write().unwrap_or_else(PoisonError::into_inner), Some(why.clone()));
    }

    /// Ends the connection for good.
    pub(crate) fn close(&self) {
        self.lanes.close(Self::close);
        if let Ok((connection, _)) = self.connection() {
            connection.close();
        }
        self.go_down(&mut self.state.write().unwrap_or_else(PoisonError::into_inner), None);
    }

    /// The connection itself, for subscribing.
    pub(crate) fn live_connection(&self) -> Result<Connection> {
        self.connection().map(|(connection, _)| connection)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if let Ok((_, generation)) = self.connection() {
            self.context.servers.leaves(self.number, generation);
        }
        self.report(None);
    }
}
