//! One supervised connection to one server.
//!
//! It is noticed at once when the connection breaks, and by ping when it is silently dead; then a task
//! reconnects for ever. Until it is back, calls fail at once, with nothing sent.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, Pipeline, PushInfo, PushKind, Value};
use stanchion::random::jittered;
use stanchion::stores::Environment;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::health::Carries;
use super::{Board, Routed};
use crate::error::{self, Access};

const PING_EVERY: Duration = Duration::from_secs(5);
/// The first attempt to reconnect is jittered too: all clients of a server lose it at the same moment.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// Where to connect: the addresses are asked anew for each attempt.
#[derive(Clone)]
pub(crate) struct Target {
    label: String,
    client: Arc<dyn Fn(u32) -> redis::RedisResult<Client> + Send + Sync>,
}

impl Target {
    /// Always the same server.
    pub(crate) fn one(info: ConnectionInfo) -> Result<Self> {
        let label = info.addr().to_string();
        let client = Client::open(info).map_err(|error| error::from_client(&error, Access::Read))?;
        Ok(Self { label, client: Arc::new(move |_| Ok(client.clone())) })
    }

    /// One of several, another at each attempt.
    pub(crate) fn any(
        label: &str,
        client: impl Fn(u32) -> redis::RedisResult<Client> + Send + Sync + 'static,
    ) -> Self {
        Self { label: label.to_owned(), client: Arc::new(client) }
    }

    /// Asks something on a connection that is used for nothing else.
    pub(super) async fn ask_once(&self, command: &Cmd, deadline: Duration) -> Result<Value> {
        let asking = async {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(deadline))
                .set_response_timeout(None);
            let mut connection =
                (self.client)(0)?.get_multiplexed_async_connection_with_config(&config).await?;
            connection.send_packed_command(command).await
        };
        let answer = asking.await.map_err(|failure| error::from_client(&failure, Access::Read))?;
        unwrap(answer, Access::Read)
    }

    /// The host of a single server.
    pub(super) fn host(&self) -> &str {
        self.label.rsplit_once(':').map_or(&self.label, |(host, _)| host)
    }
}

/// What is done with pushed messages, and with each new connection.
pub(crate) trait PushHandler: Send + Sync + 'static {
    /// A message has come; must not wait.
    fn pushed(&self, info: PushInfo);

    /// The connection is there, for the first time or again; it is used by nobody until this is done.
    fn connected(&self, connection: MultiplexedConnection) -> BoxFuture<'_, redis::RedisResult<()>>;

    /// All of that is done, and the connection is in use.
    fn ready(&self);
}

pub(crate) struct Node {
    target: Target,
    live: RwLock<State>,
    // Wakes the supervisor when the connection may be dead; dropped with the node, which ends the supervisor.
    suspicions: watch::Sender<u64>,
    number: u64,
    carries: Carries,
    board: Arc<Board>,
}

enum State {
    Live(Live),
    /// There is no connection; why the last attempt at one failed.
    Away(Option<Error>),
}

struct Live {
    connection: MultiplexedConnection,
    generation: u64,
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Node({})", self.target.label)
    }
}

impl Node {
    /// Connects once, and supervises the connection from then on.
    pub(crate) async fn open(
        target: Target,
        pushes: Option<Arc<dyn PushHandler>>,
        deadline: Duration,
        environment: &Environment,
        board: &Arc<Board>,
    ) -> Result<Arc<Self>> {
        let (node, supervisor) = Self::prepare(target, pushes, deadline, environment, board);
        supervisor.connect_once(&node, 0).await?;
        environment.tasks.spawn(supervisor.run(Arc::downgrade(&node)))?;
        Ok(node)
    }

    /// Like [`open`](Self::open), but a server that can't be reached yet is a node that is down: its
    /// supervisor goes on trying.
    pub(super) async fn open_or_wait(
        target: Target,
        deadline: Duration,
        environment: &Environment,
        board: &Arc<Board>,
    ) -> Result<Arc<Self>> {
        let (node, supervisor) = Self::prepare(target, None, deadline, environment, board);
        if let Err(error) = supervisor.connect_once(&node, 0).await {
            tracing::warn!(server = %node.target.label, %error, "not connected yet");
            node.suspect();
        }
        environment.tasks.spawn(supervisor.run(Arc::downgrade(&node)))?;
        Ok(node)
    }

    fn prepare(
        target: Target,
        pushes: Option<Arc<dyn PushHandler>>,
        deadline: Duration,
        environment: &Environment,
        board: &Arc<Board>,
    ) -> (Arc<Self>, Supervisor) {
        static NUMBERS: AtomicU64 = AtomicU64::new(0);
        let (suspicions, watched) = watch::channel(0);
        let carries = if pushes.is_some() { Carries::Subscriptions } else { Carries::Commands };
        let node = Arc::new(Self {
            target: target.clone(),
            live: RwLock::new(State::Away(None)),
            suspicions,
            number: NUMBERS.fetch_add(1, Ordering::Relaxed),
            carries,
            board: Arc::clone(board),
        });
        let environment = environment.clone();
        (node, Supervisor { target, pushes, deadline, environment, watched, pause: FIRST_PAUSE })
    }

    fn report(&self, up: Option<bool>) {
        self.board.report(self.number, self.carries, up);
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// The connection, if there is one, and which one it is.
    fn connection(&self) -> Result<(MultiplexedConnection, u64)> {
        let state = self.live.read().unwrap_or_else(PoisonError::into_inner);
        let why = match &*state {
            State::Live(live) => return Ok((live.connection.clone(), live.generation)),
            State::Away(why) => why.clone(),
        };
        let label = &self.target.label;
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
        let (mut connection, generation) = self.connection()?;
        let answer = connection.send_packed_command(command).await;
        self.answered(generation, answer, access).and_then(|value| unwrap(value, access))
    }

    /// Several commands in one write.
    pub(crate) async fn pipeline(&self, commands: Vec<Routed>, access: Access) -> Vec<Result<Value>> {
        let count = commands.len();
        let mut pipeline = Pipeline::with_capacity(count);
        for routed in commands {
            pipeline.add_command(routed.command);
        }
        self.packed(&pipeline, count, access).await
    }

    /// A pipeline of `count` commands, all of whose replies are wanted.
    pub(super) async fn packed(
        &self,
        pipeline: &Pipeline,
        count: usize,
        access: Access,
    ) -> Vec<Result<Value>> {
        let (mut connection, generation) = match self.connection() {
            Ok(live) => live,
            Err(error) => return vec![Err(error); count],
        };
        let answer = connection.send_packed_commands(pipeline, 0, count).await;
        match self.answered(generation, answer, access) {
            Ok(values) if values.len() == count => {
                values.into_iter().map(|value| unwrap(value, access)).collect()
            }
            Ok(_) => vec![Err(error::unexpected_reply(access)); count],
            Err(error) => vec![Err(error); count],
        }
    }

    fn answered<T>(&self, generation: u64, answer: redis::RedisResult<T>, access: Access) -> Result<T> {
        match answer {
            Ok(answer) => Ok(answer),
            Err(error) => {
                if error.is_unrecoverable_error() || error.is_connection_dropped() {
                    self.give_up(generation);
                }
                Err(error::from_client(&error, access))
            }
        }
    }

    /// A command had no answer within its deadline: the link may be half-open, which a ping will tell.
    pub(crate) fn suspect(&self) {
        self.suspicions.send_modify(|times| *times += 1);
    }

    /// Nobody uses this connection any more; the supervisor makes another.
    fn give_up(&self, generation: u64) {
        let mut state = self.live.write().unwrap_or_else(PoisonError::into_inner);
        if matches!(&*state, State::Live(live) if live.generation == generation) {
            *state = State::Away(None);
            self.report(Some(false));
        }
        drop(state);
        self.suspect();
    }

    fn go_live(&self, connection: MultiplexedConnection, generation: u64) {
        let mut state = self.live.write().unwrap_or_else(PoisonError::into_inner);
        *state = State::Live(Live { connection, generation });
        self.report(Some(true));
    }

    /// An attempt to connect has failed.
    fn stay_away(&self, why: &Error) {
        let mut state = self.live.write().unwrap_or_else(PoisonError::into_inner);
        *state = State::Away(Some(why.clone()));
        self.report(Some(false));
    }

    /// Ends the connection for good.
    pub(crate) fn close(&self) {
        *self.live.write().unwrap_or_else(PoisonError::into_inner) = State::Away(None);
        self.report(Some(false));
    }

    /// A handle for commands that this module knows nothing of, such as subscribing.
    pub(crate) fn raw(&self) -> Result<MultiplexedConnection> {
        self.connection().map(|(connection, _)| connection)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.report(None);
    }
}

/// An error that came as a value.
fn unwrap(value: Value, access: Access) -> Result<Value> {
    match value {
        Value::ServerError(error) => Err(error::from_server(&error, access)),
        value => Ok(value),
    }
}

/// The task that keeps a node connected.
struct Supervisor {
    target: Target,
    pushes: Option<Arc<dyn PushHandler>>,
    deadline: Duration,
    environment: Environment,
    watched: watch::Receiver<u64>,
    // Before the next attempt to reconnect.
    pause: Duration,
}

impl Supervisor {
    async fn connect_once(&self, node: &Arc<Node>, attempt: u32) -> Result<()> {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        let weak = Arc::downgrade(node);
        let pushes = self.pushes.clone();
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(self.deadline))
            // The deadline is ours, around the whole operation.
            .set_response_timeout(None)
            .set_push_sender(move |info: PushInfo| {
                if info.kind == PushKind::Disconnection {
                    if let Some(node) = weak.upgrade() {
                        node.give_up(generation);
                    }
                } else if let Some(pushes) = &pushes {
                    pushes.pushed(info);
                }
                Ok::<(), redis::aio::SendError>(())
            });
        let connecting = async {
            let client = (self.target.client)(attempt)?;
            let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
            if let Some(pushes) = &self.pushes {
                pushes.connected(connection.clone()).await?;
            }
            Ok(connection)
        };
        let connected = match tokio::time::timeout(2 * self.deadline, connecting).await {
            Ok(connected) => connected.map_err(|error| error::from_client(&error, Access::Read)),
            Err(_) => Err(error::timed_out(2 * self.deadline, Access::Read)),
        };
        let connection = connected.inspect_err(|why| node.stay_away(why))?;
        node.go_live(connection, generation);
        if let Some(pushes) = &self.pushes {
            pushes.ready();
        }
        Ok(())
    }

    async fn run(mut self, node: Weak<Node>) {
        let closing = self.environment.tasks.closing();
        let supervised = async {
            let mut since = self.environment.clock.now();
            loop {
                let dropped = tokio::select! {
                    changed = self.watched.changed() => changed.is_err(),
                    () = self.environment.sleep(PING_EVERY) => false,
                };
                let Some(node) = node.upgrade().filter(|_| !dropped) else {
                    return;
                };
                if node.is_live() {
                    self.ping(&node).await;
                }
                if !node.is_live() {
                    let weak = Arc::downgrade(&node);
                    drop(node);
                    if self.environment.clock.now().saturating_since(since) > LONGEST_PAUSE {
                        self.pause = FIRST_PAUSE;
                    }
                    self.reconnect(&weak).await;
                    since = self.environment.clock.now();
                }
            }
        };
        tokio::select! {
            () = closing => {}
            () = supervised => {}
        }
    }

    async fn ping(&self, node: &Arc<Node>) {
        let Ok((mut connection, generation)) = node.connection() else {
            return;
        };
        let ping = redis::cmd("PING");
        let answer = tokio::time::timeout(self.deadline, connection.send_packed_command(&ping)).await;
        if !matches!(answer, Ok(Ok(_))) {
            node.give_up(generation);
        }
    }

    /// Tries until it is connected. The pauses grow on from one call to the next, unless the connection had
    /// lasted: a server that takes connections and drops them is not hammered.
    async fn reconnect(&mut self, node: &Weak<Node>) {
        let mut attempt = 0;
        loop {
            self.environment.sleep(jittered(&*self.environment.random, self.pause)).await;
            self.pause = (self.pause * 2).min(LONGEST_PAUSE);
            let Some(node) = node.upgrade() else {
                return;
            };
            match self.connect_once(&node, attempt).await {
                Ok(()) => {
                    tracing::info!(server = %self.target.label, "reconnected");
                    return;
                }
                Err(error) => {
                    tracing::warn!(server = %self.target.label, %error, attempt, "can't reconnect yet");
                }
            }
            attempt = attempt.saturating_add(1);
        }
    }
}
