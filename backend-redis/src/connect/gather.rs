//! Single reads that come together are sent together.
//!
//! While few are on their way each goes out by itself. What piles up behind them is written as one batch, the next
//! as soon as one has come back. Nothing ever waits for a timer, and no caller drives another's read: a task of its
//! own owns each batch, so that a caller may be dropped at any time.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use redis::{Cmd, Pipeline, Value};
use stanchion::key::Key;
use stanchion::time::Monotonic;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use super::Node;
use crate::error::{self, Access};
use crate::reply;

/// How much is gathered.
struct Measure {
    /// So many go out by themselves: below it gathering costs more than it saves.
    singles: usize,
    /// So many batches are on their way at once: while one is answered, the server has another to work at.
    senders: usize,
    /// So many keys has a batch at most.
    batch: usize,
}

/// For small values, where a request and a reply each cost more than what is in them.
const LIGHT: Measure = Measure { singles: 4, senders: 2, batch: WAITING };
/// For large ones, most of whose cost is the way of their bytes: smaller batches, more of them, keep it busy.
const HEAVY: Measure = Measure { singles: 16, senders: 12, batch: 32 };
/// From so many bytes on, on average, values are large.
const LARGE: usize = 2_048;
/// Up to so many bytes each, the values of a batch are copied into one piece of memory. The client has taken one piece for
/// each in one thread, and their readers would give them back in others, all of them at the lock of the same heap.
const SHARED: usize = 512;
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
    // The values that were read last were large.
    large: AtomicBool,
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
    reply: oneshot::Sender<Result<Option<Bytes>>>,
}

impl Caller {
    fn answer(self, answer: Result<Option<Bytes>>) {
        // Nobody minds one who left.
        let _ = self.reply.send(answer);
    }
}

/// A read that goes out by itself, counted for as long as it is on its way.
struct Single<'a>(&'a AtomicUsize);

impl<'a> Single<'a> {
    fn begin(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let single = Self(count);
        (count.fetch_add(1, Ordering::Relaxed) < most).then_some(single)
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

    fn measure(&self) -> &'static Measure {
        if self.large.load(Ordering::Relaxed) { &HEAVY } else { &LIGHT }
    }

    /// Takes note of the size of values that were read.
    fn measured(&self, values: usize, bytes: usize) {
        let large = bytes > LARGE * values;
        // Seldom news: those who read it are many.
        if values > 0 && self.large.load(Ordering::Relaxed) != large {
            self.large.store(large, Ordering::Relaxed);
        }
    }

    /// Reads a key at this node.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing from others.
    pub(super) async fn get(node: &Arc<Node>, key: &Key, deadline: Duration) -> Result<Option<Bytes>> {
        let gatherer = node.gatherer();
        // While there are batches, whatever comes joins the next one.
        if gatherer.senders.load(Ordering::Relaxed) == 0
            && let Some(single) = Single::begin(&gatherer.singles, gatherer.measure().singles)
        {
            // The client's future is large: on the heap by itself, so that the many that are gathered are small.
            return Box::pin(Self::get_alone(node, key, deadline, single)).await;
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

    async fn get_alone(
        node: &Node,
        key: &Key,
        deadline: Duration,
        _single: Single<'_>,
    ) -> Result<Option<Bytes>> {
        let command = get(&node.context().layout.key(key));
        let asking = node.command(&command, Access::Read);
        let Ok(answer) = tokio::time::timeout(deadline, asking).await else {
            return Err(error::timed_out(deadline, Access::Read));
        };
        let answer = held(answer?)?;
        if let Some(bytes) = &answer {
            node.gatherer().measured(1, bytes.len());
        }
        Ok(answer)
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
        if queue.senders >= self.measure().senders {
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
            // Those that were just answered read on, and come into this batch. With nothing else to do it costs nothing.
            tokio::task::yield_now().await;
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

    /// What has waited longest; or nothing, and this sender is counted no more.
    fn take(&mut self) -> Option<Vec<Waiting>> {
        let gatherer = self.node.gatherer();
        let mut queue = gatherer.queue();
        let waiting = queue.waiting.len();
        if waiting == 0 {
            gatherer.count(&mut queue, -1);
            self.ended = true;
            return None;
        }
        let most = gatherer.measure().batch.min(waiting);
        let mut rest = Vec::with_capacity(waiting);
        rest.extend(queue.waiting.drain(most..));
        Some(std::mem::replace(&mut queue.waiting, rest))
    }

    /// One answer for each, in order.
    async fn ask(&self, batch: &[Key]) -> Vec<Result<Option<Bytes>>> {
        let gatherer = self.node.gatherer();
        let Gatherer { sparse, refused, .. } = gatherer;
        // On a Cluster a command has keys of one slot only.
        let each =
            self.node.context().cluster || sparse.load(Ordering::Relaxed) || refused.load(Ordering::Relaxed);
        let answers = if each { self.ask_each(batch.iter()).await } else { self.ask_together(batch).await };
        let missed = answers.iter().filter(|answer| matches!(answer, Ok(Value::Nil))).count();
        sparse.store(missed * 4 > batch.len(), Ordering::Relaxed);
        let sizes = answers.iter().filter_map(size);
        gatherer.measured(sizes.clone().count(), sizes.sum());
        shared(answers)
    }

    /// By `MGET`, which costs half of as many `GET`. It says nil for a list too, so that what it did not find is
    /// asked for again.
    async fn ask_together(&self, batch: &[Key]) -> Vec<Result<Value>> {
        let layout = &self.node.context().layout;
        let chunks = batch.chunks(KEYS);
        let mut pipeline = Pipeline::with_capacity(chunks.len());
        for chunk in chunks.clone() {
            let length = chunk.iter().map(|key| layout.key(key).len()).sum::<usize>();
            let mut command = Cmd::with_capacity(1 + chunk.len(), 4 + length);
            command.arg("MGET");
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

/// What a reply says that a key holds.
pub(super) fn held(reply: Value) -> Result<Option<Bytes>> {
    reply::maybe_bytes(reply).ok_or_else(|| error::unexpected_reply(Access::Read))
}

/// The size of a value that was found.
fn size(answer: &Result<Value>) -> Option<usize> {
    match answer {
        Ok(Value::BulkString(bytes)) => Some(bytes.len()),
        _ => None,
    }
}

/// The same answers, with the small values in one piece of memory.
fn shared(answers: Vec<Result<Value>>) -> Vec<Result<Option<Bytes>>> {
    let room = answers.iter().filter_map(size).filter(|size| *size <= SHARED).sum();
    let mut memory = BytesMut::with_capacity(room);
    let share = |answer: Result<Value>| match answer? {
        Value::BulkString(bytes) if bytes.len() <= SHARED => {
            memory.put_slice(&bytes);
            Ok(Some(memory.split().freeze()))
        }
        other => held(other),
    };
    answers.into_iter().map(share).collect()
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
