//! One supervised connection to one server.
//!
//! It is noticed at once when the connection breaks, and by ping when it is silently dead; then a task
//! reconnects for ever. Until it is back, calls fail at once, with nothing sent.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use redis::{Cmd, Pipeline, PushInfo, Value};
use stanchion::key::Key;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::health::Carries;
use super::supervisor::Supervisor;
use super::{Connection, Context, Routed, Target, unwrap};
use crate::error::Access;

/// What is done with pushed messages, and with each new connection.
///
/// Connections are told apart by their generation, a number that is never used twice in a process.
pub(crate) trait PushHandler: Send + Sync + 'static {
    /// A message has come; must not wait.
    fn pushed(&self, info: PushInfo);

    /// The connection is there, for the first time or again; it is used by nobody until this is done.
    fn connected(&self, connection: Connection, generation: u64) -> BoxFuture<'_, Result<()>>;

    /// All of that is done, and the connection is in use. Told in order with [`lost`](Self::lost); neither may
    /// wait, or call the node.
    fn ready(&self, generation: u64);

    /// The connection is not in use any more.
    fn lost(&self, generation: u64);
}

pub(crate) struct Node {
    target: Target,
    live: RwLock<State>,
    // Wakes the supervisor when the connection may be dead; dropped with the node, which ends the supervisor.
    suspicions: watch::Sender<u64>,
    number: u64,
    pushes: Option<Arc<dyn PushHandler>>,
    context: Arc<Context>,
}

enum State {
    Live(Live),
    /// There is no connection; why the last attempt at one failed.
    Away(Option<Error>),
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
    /// Connects once, and supervises the connection from then on.
    pub(crate) async fn open(
        target: Target,
        pushes: Option<Arc<dyn PushHandler>>,
        context: &Arc<Context>,
    ) -> Result<Arc<Self>> {
        let (node, supervisor) = Self::prepare(target, pushes, context);
        supervisor.connect_once(&node, 0).await?;
        context.environment.tasks.spawn(supervisor.run(Arc::downgrade(&node)))?;
        Ok(node)
    }

    /// Like [`open`](Self::open), but a server that can't be reached yet is a node that is down: its
    /// supervisor goes on trying.
    pub(crate) async fn open_or_wait(
        target: Target,
        pushes: Option<Arc<dyn PushHandler>>,
        context: &Arc<Context>,
    ) -> Result<Arc<Self>> {
        let (node, supervisor) = Self::prepare(target, pushes, context);
        if let Err(error) = supervisor.connect_once(&node, 0).await {
            tracing::warn!(server = %node.target.label(), %error, "not connected yet");
            node.suspect();
        }
        context.environment.tasks.spawn(supervisor.run(Arc::downgrade(&node)))?;
        Ok(node)
    }

    fn prepare(
        target: Target,
        pushes: Option<Arc<dyn PushHandler>>,
        context: &Arc<Context>,
    ) -> (Arc<Self>, Supervisor) {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let (suspicions, watched) = watch::channel(0);
        let supervisor = Supervisor::new(Arc::clone(context), watched);
        let node = Arc::new(Self {
            target,
            live: RwLock::new(State::Away(None)),
            suspicions,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            pushes,
            context: Arc::clone(context),
        });
        (node, supervisor)
    }

    pub(super) fn carries(&self) -> Carries {
        if self.pushes.is_some() { Carries::Subscriptions } else { Carries::Commands }
    }

    pub(super) fn report(&self, up: Option<bool>) {
        self.context.board.report(self.number, self.carries(), up);
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(super) fn pushes(&self) -> Option<&Arc<dyn PushHandler>> {
        self.pushes.as_ref()
    }

    /// The connection, if there is one, and which one it is.
    pub(crate) fn connection(&self) -> Result<(Connection, u64)> {
        let state = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let why = match &*state {
            State::Live(live) => return Ok((live.connection.clone(), live.generation)),
            State::Away(why) => why.clone(),
        };
        let label = self.target.label();
        Err(match why {
            // What an operator has to mend is said as such: the caller need not wait for it.
            Some(why) if !why.kind().is_transient() => {
                Error::new(why.kind(), format!("can't reconnect to {label}: {why}")).with_source(why)
            }
            _ => Error::new(ErrorKind::Unavailable, format!("not connected to {label}; reconnecting"))
                .with_retry_after(Duration::from_millis(100)),
        })
    }

    pub(crate) fn is_live(&self) -> bool {
        matches!(*self.live.read().unwrap_or_else(PoisonError::into_inner), State::Live(_))
    }

    /// One command. An error that the server answered is an `Err` as well.
    pub(crate) async fn command(&self, command: &Cmd, access: Access) -> Result<Value> {
        let (connection, _) = self.connection()?;
        connection.command(command, access).await
    }

    /// Reads a key, together with others that are read at the same time.
    pub(super) async fn get(&self, key: &Key, deadline: Duration) -> Result<Option<Bytes>> {
        let (connection, _) = self.connection()?;
        connection.get(key, deadline).await
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
        let asking = async {
            let (connection, _) = self.connection()?;
            connection.pipeline(pipeline, access).await
        };
        match asking.await {
            Ok(values) => values.into_iter().map(|value| unwrap(value, access)).collect(),
            Err(error) => vec![Err(error); pipeline.len()],
        }
    }

    /// A command had no answer within its deadline: the link may be half-open, which a ping will tell.
    pub(crate) fn suspect(&self) {
        self.suspicions.send_modify(|times| *times += 1);
    }

    /// Nobody uses this connection any more; the supervisor makes another.
    pub(crate) fn give_up(&self, generation: u64) {
        let mut state = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*state, State::Live(live) if live.generation == generation) {
            self.forget(&mut state, None);
        }
        drop(state);
        self.suspect();
    }

    /// Under the lock, so that the handler is told in order.
    fn forget(&self, state: &mut State, why: Option<Error>) {
        if let State::Live(Live { generation, .. }) = std::mem::replace(state, State::Away(why))
            && let Some(pushes) = &self.pushes
        {
            pushes.lost(generation);
        }
        self.report(Some(false));
    }

    /// Puts a new connection to use, unless it broke in the meantime; answers whether it did not.
    pub(super) fn go_live(&self, connection: Connection, generation: u64, broken: &AtomicBool) -> bool {
        let mut state = self.live.write().unwrap_or_else(PoisonError::into_inner);
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
    pub(super) fn stay_away(&self, why: &Error) {
        self.forget(&mut self.live.write().unwrap_or_else(PoisonError::into_inner), Some(why.clone()));
    }

    /// Ends the connection for good.
    pub(crate) fn close(&self) {
        if let Ok((connection, _)) = self.connection() {
            connection.close();
        }
        self.forget(&mut self.live.write().unwrap_or_else(PoisonError::into_inner), None);
    }

    /// A handle for commands that this module knows nothing of, such as subscribing.
    pub(crate) fn raw(&self) -> Result<Connection> {
        self.connection().map(|(connection, _)| connection)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.report(None);
    }
}
