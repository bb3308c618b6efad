//! The task that keeps a node connected.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::PushInfo;
use stanchion::random::jittered;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::connection::Events;
use super::{Connection, Context, Node, PushHandler};
use crate::error::{self, Access};

/// The first attempt to reconnect is jittered too: all clients of a server lose it at the same moment.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

pub(super) struct Supervisor {
    context: Arc<Context>,
    watched: watch::Receiver<u64>,
    // Before the next attempt to reconnect.
    pause: Duration,
}

impl Supervisor {
    pub(super) fn new(context: Arc<Context>, watched: watch::Receiver<u64>) -> Self {
        Self { context, watched, pause: FIRST_PAUSE }
    }

    pub(super) async fn connect_once(&self, node: &Arc<Node>, attempt: u32) -> Result<()> {
        static GENERATIONS: AtomicU64 = AtomicU64::new(1);
        let generation = GENERATIONS.fetch_add(1, Ordering::Relaxed);
        let deadline = self.context.deadline;
        let told = Arc::new(Told {
            node: Arc::downgrade(node),
            generation,
            pushes: node.pushes().cloned(),
            broken: AtomicBool::new(false),
        });
        let connecting = async {
            let info = node.target().address(attempt);
            let events = Some(Arc::clone(&told) as Arc<dyn Events>);
            let connection = Connection::open(&info, events, &self.context).await?;
            if let Some(pushes) = node.pushes() {
                pushes.connected(connection.clone(), generation).await?;
            }
            Ok(connection)
        };
        let connected = tokio::time::timeout(2 * deadline, connecting).await;
        let connected = connected.unwrap_or_else(|_| Err(error::timed_out(2 * deadline, Access::Read)));
        let connection = connected.inspect_err(|why| node.stay_away(why))?;
        if node.go_live(connection, generation, &told.broken) {
            return Ok(());
        }
        node.report(Some(false));
        Err(Error::new(ErrorKind::Unavailable, "the connection broke as soon as it was made"))
    }

    pub(super) async fn run(mut self, node: Weak<Node>) {
        let environment = self.context.environment.clone();
        let closing = environment.tasks.closing();
        let supervised = async {
            let mut since = environment.clock.now();
            loop {
                let dropped = tokio::select! {
                    changed = self.watched.changed() => changed.is_err(),
                    () = environment.sleep(self.context.ping_every) => false,
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

    /// `TIME` is as good a ping as any, and says something. A refusal is an answer too.
    async fn ping(&self, node: &Arc<Node>) {
        let Ok((connection, generation)) = node.connection() else {
            return;
        };
        let started = self.context.time.started();
        let ping = redis::cmd("TIME");
        let asking = connection.answer(&ping, Access::Read);
        let answer = tokio::time::timeout(self.context.deadline, asking).await;
        match answer {
            Ok(Ok(time)) => self.context.time.learn(started, time),
            _ => node.give_up(generation),
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

/// What a connection tells of itself.
struct Told {
    node: Weak<Node>,
    generation: u64,
    pushes: Option<Arc<dyn PushHandler>>,
    broken: AtomicBool,
}

impl Events for Told {
    fn pushed(&self, info: PushInfo) {
        if let Some(pushes) = &self.pushes {
            pushes.pushed(info);
        }
    }

    fn broken(&self) {
        // It may be that nobody has seen the connection yet.
        self.broken.store(true, Ordering::Release);
        if let Some(node) = self.node.upgrade() {
            node.give_up(self.generation);
        }
    }
}
