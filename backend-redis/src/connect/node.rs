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
use super::purpose::Purpose;
use super::push::PushHandler;
use super::target::Target;
use super::telemetry::Operation;
use crate::command::Routed;
use crate::error::Access;
use crate::reply;

/// A server, and the connection to it that is in use, if there is one.
pub(crate) struct Node {
    target: Target,
    state: RwLock<State>,
    // Wakes the supervisor when the connection may be dead; dropped with the node, which ends the supervisor.
    heartbeats: watch::Sender<u64>,
    number: u64,
    pushes: Option<Arc<dyn PushHandler>>,
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
        pushes: Option<Arc<dyn PushHandler>>,
        context: &Arc<Context>,
    ) -> (Arc<Self>, watch::Receiver<u64>) {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let (heartbeats, wanted) = watch::channel(0);
        let node = Arc::new(Self {
            target,
            state: RwLock::new(State::Down(None)),
            heartbeats,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            pushes,
            context: Arc::clone(context),
        });
        (node, wanted)
    }

    pub(super) fn purpose(&self) -> Purpose {
        self.pushes.as_ref().map_or(Purpose::Commands, |pushes| pushes.purpose())
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

    /// One command. An error that the server answered is an `Err` as well.
    pub(crate) async fn command(&self, command: &Cmd, access: Access) -> Result<Value> {
        let (connection, _) = self.connection()?;
        let Some(telemetry) = &self.context.commands else {
            return connection.command(command, access).await;
        };
        let work = connection.command(command, access);
        Box::pin(telemetry.one(self.target.host_and_port(), Operation::of(command), work)).await
    }

    /// Reads a key, together with others that are read at the same time.
    pub(super) async fn get(&self, key: &Key, deadline: Duration) -> Result<Option<Bytes>> {
        let (connection, _) = self.connection()?;
        let Some(telemetry) = &self.context.commands else {
            return connection.get(key, deadline).await;
        };
        Box::pin(telemetry.one(self.target.host_and_port(), Operation::GET, connection.get(key, deadline)))
            .await
    }

    /// Several commands in one write.
    pub(crate) async fn pipeline(&self, commands: Vec<Routed>, access: Access) -> Vec<Result<Value>> {
        let mut pipeline = Pipeline::with_capacity(commands.len());
        for routed in commands {
            pipeline.add_command(routed.command);
        }
        self.packed(&pipeline, access).await
    }

    /// A pipeline, all of whose replies are wanted.
    pub(super) async fn packed(&self, pipeline: &Pipeline, access: Access) -> Vec<Result<Value>> {
        let work = self.replies(pipeline, access);
        match &self.context.commands {
            Some(telemetry) => {
                Box::pin(telemetry.all(self.target.host_and_port(), Operation::of_all(pipeline), work)).await
            }
            None => work.await,
        }
    }

    async fn replies(&self, pipeline: &Pipeline, access: Access) -> Vec<Result<Value>> {
        let sending = async {
            let (connection, _) = self.connection()?;
            connection.pipeline(pipeline, access).await
        };
        match sending.await {
            Ok(values) => values.into_iter().map(|value| reply::checked(value, access)).collect(),
            Err(error) => vec![Err(error); pipeline.len()],
        }
    }

    /// Has the connection pinged at once: a command had no reply within its deadline, so that it may be half-open.
    pub(crate) fn request_heartbeat(&self) {
        self.heartbeats.send_modify(|times| *times += 1);
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
        if let State::Live(Live { generation, .. }) = std::mem::replace(state, State::Down(why))
            && let Some(pushes) = &self.pushes
        {
            pushes.lost(generation);
        }
        self.report(Some(false));
    }

    /// Puts a new connection to use, unless it broke in the meantime; answers whether it did not.
    pub(super) fn go_live(&self, connection: Connection, generation: u64, broken: &AtomicBool) -> bool {
        let mut state = self.state.write().unwrap_or_else(PoisonError::into_inner);
        // Set before the lock is asked for to give the connection up.
        if broken.load(Ordering::Acquire) {
            return false;
        }
        *state = State::Live(Live { connection, generation });
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
        self.report(None);
    }
}
