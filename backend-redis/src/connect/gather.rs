//! Single reads that come together are sent together.
//!
//! While few are on their way each goes out by itself. What piles up behind them is written as one batch, the next
//! as soon as one has come back. Nothing ever waits for a timer, and no caller drives another's read: a task of its
//! own owns each batch, so that a caller may be dropped at any time.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use stanchion::key::Key;
use stanchion::time::Monotonic;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::Node;
use crate::error::{self, Access};

/// So many go out by themselves: below it gathering costs more than it saves.
const SINGLES: usize = 16;
/// So many batches are on their way at once: while one is answered, the server has another to work at.
const SENDERS: usize = 2;
/// So often a sender lets others run before it takes what waits: those that were just answered read on, and come
/// into the same batch. With nothing else to do it costs nothing.
const TURNS: usize = 2;
/// So many keys has one `MGET` of a batch, so that the server turns to others in between.
const KEYS: usize = 64;
/// So many reads wait for one master; more are refused, as it is far behind.
const WAITING: usize = 65_536;

/// The reads of one master.
#[derive(Default)]
pub(super) struct Gatherer {
    singles: AtomicUsize,
    // As in the queue, to be looked at without its lock.
    senders: AtomicUsize,
    queue: Mutex<Queue>,
    // Many keys of the last batch held nothing.
    sparse: AtomicBool,
    // The server, or its ACL, has refused `MGET`.
    refused: AtomicBool,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<Waiting>,
    senders: usize,
}

struct Waiting {
    key: Key,
    caller: Caller,
}

struct Caller {
    since: Monotonic,
    reply: oneshot::Sender<Result<Value>>,
}

impl Caller {
    fn answer(self, answer: Result<Value>) {
        // Nobody minds one who left.
        let _ = self.reply.send(answer);
    }
}

/// A read that goes out by itself, counted for as long as it is on its way.
struct Single<'a>(&'a AtomicUsize);

impl<'a> Single<'a> {
    fn begin(count: &'a AtomicUsize) -> Option<Self> {
        let single = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < SINGLES).then_some(single)
    }
}

impl Drop for Single<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(super) fn get(key: &str) -> Cmd {
    let mut command = Cmd::with_capacity(2, key.len() + 3);
    command.arg("GET").arg(key);
    command
}

impl Gatherer {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads a key at this node.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing from others.
    pub(super) async fn get(node: &Arc<Node>, key: &Key, deadline: Duration) -> Result<Value> {
        let gatherer = node.gatherer();
        // While there are batches, whatever comes joins the next one.
        if gatherer.senders.load(Ordering::Relaxed) == 0
            && let Some(_single) = Single::begin(&gatherer.singles)
        {
            let command = get(&node.context().layout.key(key));
            // The client's future is large: on the heap by itself, so that the many that are gathered are small.
            let asking = Box::pin(tokio::time::timeout(deadline, node.command(&command, Access::Read)));
            return match asking.await {
                Ok(answer) => answer,
                Err(_) => Err(error::timed_out(deadline, Access::Read)),
            };
        }
        let (reply, answer) = oneshot::channel();
        let caller = Caller { since: node.context().environment.clock.now(), reply };
        let sender = gatherer.join(node, Waiting { key: key.clone(), caller })?;
        if let Some(sender) = sender {
            // If the backend is closing, dropping the sender answers everybody.
            let _ = node.context().environment.tasks.spawn(sender.run(deadline));
        }
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Closed, "the backend was closed before the read was answered"))
        })
    }

    /// Puts a read into the queue; answers a sender to run if there are not enough.
    fn join(&self, node: &Arc<Node>, waiting: Waiting) -> Result<Option<Sender>> {
        let mut queue = self.queue();
        if queue.waiting.len() >= WAITING {
            return Err(Error::new(
                ErrorKind::Throttled,
                format!("{WAITING} reads wait for this server already"),
            )
            .with_retry_after(Duration::from_millis(100)));
        }
        queue.waiting.push(waiting);
        if queue.senders >= SENDERS {
            return Ok(None);
        }
        self.count(&mut queue, 1);
        Ok(Some(Sender { node: Arc::clone(node), ended: false }))
    }

    fn count(&self, queue: &mut Queue, change: isize) {
        queue.senders = queue.senders.saturating_add_signed(change);
        self.senders.store(queue.senders, Ordering::Relaxed);
    }
}

/// Sends batches for as long as something piles up.
struct Sender {
    node: Arc<Node>,
    ended: bool,
}

impl Sender {
    async fn run(mut self, deadline: Duration) {
        loop {
            for _ in 0..TURNS {
                tokio::task::yield_now().await;
            }
            let Some(mut batch) = self.take() else { return };
            batch.retain(|waiting| !waiting.caller.reply.is_closed());
            self.send(batch, deadline).await;
        }
    }

    /// Asks for a batch, until it is answered or its last caller has waited for the deadline. Each has all of that for
    /// itself. Nobody in the queue waits longer either: who is there came after this batch was taken.
    async fn send(&self, batch: Vec<Waiting>, deadline: Duration) {
        let (keys, callers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.key, waiting.caller)).unzip();
        // In the order in which they came.
        let mut callers = callers.into_iter().peekable();
        let clock = &self.node.context().environment.clock;
        let mut asking = pin!(self.ask(&keys));
        while let Some(first) = callers.peek() {
            let due = first.since.saturating_add(deadline);
            let left = due.saturating_since(clock.now());
            if let Ok(answers) = tokio::time::timeout(left, &mut asking).await {
                let gone = keys.len() - callers.len();
                callers
                    .zip(answers.into_iter().skip(gone))
                    .for_each(|(caller, answer)| caller.answer(answer));
                return;
            }
            // The timer has the last word: the clock may be one that a test moves.
            let now = clock.now().max(due);
            while let Some(late) = callers.next_if(|caller| caller.since.saturating_add(deadline) <= now) {
                late.answer(Err(error::timed_out(deadline, Access::Read)));
            }
        }
    }

    /// Everything that waits; or nothing, and this sender is counted no more.
    fn take(&mut self) -> Option<Vec<Waiting>> {
        let gatherer = self.node.gatherer();
        let mut queue = gatherer.queue();
        if queue.waiting.is_empty() {
            gatherer.count(&mut queue, -1);
            self.ended = true;
            return None;
        }
        let room = Vec::with_capacity(queue.waiting.len());
        Some(std::mem::replace(&mut queue.waiting, room))
    }

    /// One answer for each, in order.
    async fn ask(&self, batch: &[Key]) -> Vec<Result<Value>> {
        let Gatherer { sparse, refused, .. } = self.node.gatherer();
        // On a Cluster a command has keys of one slot only.
        let each =
            self.node.context().cluster || sparse.load(Ordering::Relaxed) || refused.load(Ordering::Relaxed);
        let answers = if each { self.ask_each(batch.iter()).await } else { self.ask_together(batch).await };
        let missed = answers.iter().filter(|answer| matches!(answer, Ok(Value::Nil))).count();
        sparse.store(missed * 4 > batch.len(), Ordering::Relaxed);
        answers
    }

    /// By `MGET`, which costs half of as many `GET`. It says nil for a list too, so that what it did not find is
    /// asked for again.
    async fn ask_together(&self, batch: &[Key]) -> Vec<Result<Value>> {
        let layout = &self.node.context().layout;
        let chunks = batch.chunks(KEYS);
        let mut pipeline = Pipeline::with_capacity(chunks.len());
        for chunk in chunks.clone() {
            let mut command = redis::cmd("MGET");
            for key in chunk {
                command.arg(&*layout.key(key));
            }
            pipeline.add_command(command);
        }
        let replies = self.node.packed(&pipeline, chunks.len(), Access::Read).await;
        let mut answers = Vec::with_capacity(batch.len());
        for (chunk, reply) in chunks.zip(replies) {
            match reply {
                Ok(Value::Array(values)) if values.len() == chunk.len() => {
                    answers.extend(values.into_iter().map(Ok));
                }
                Ok(_) => answers.extend(chunk.iter().map(|_| Err(error::unexpected_reply(Access::Read)))),
                // The right to `GET` is enough for all of this; what is denied of that is told for each.
                Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unsupported) => {
                    self.node.gatherer().refused.store(true, Ordering::Relaxed);
                    answers.extend(chunk.iter().map(|_| Ok(Value::Nil)));
                }
                Err(error) => answers.extend(chunk.iter().map(|_| Err(error.clone()))),
            }
        }
        let missed: Vec<_> =
            (0..batch.len()).filter(|at| matches!(answers.get(*at), Some(Ok(Value::Nil)))).collect();
        if !missed.is_empty() {
            let second = self.ask_each(missed.iter().map(|at| &batch[*at])).await;
            for (at, answer) in missed.into_iter().zip(second) {
                answers[at] = answer;
            }
        }
        answers
    }

    async fn ask_each<'a>(&self, batch: impl ExactSizeIterator<Item = &'a Key>) -> Vec<Result<Value>> {
        let count = batch.len();
        let mut pipeline = Pipeline::with_capacity(count);
        for key in batch {
            pipeline.add_command(get(&self.node.context().layout.key(key)));
        }
        self.node.packed(&pipeline, count, Access::Read).await
    }
}

impl Drop for Sender {
    /// Cut off, or never run: nobody may wait for it.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        let gatherer = self.node.gatherer();
        let mut queue = gatherer.queue();
        gatherer.count(&mut queue, -1);
        let left = if queue.senders == 0 { std::mem::take(&mut queue.waiting) } else { Vec::new() };
        drop(queue);
        drop(left);
    }
}
