//! Batches of reads, each sent and answered as a whole.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use redis::{Cmd, Pipeline, Value};
use stanchion::key::Key;
use stanchion::{ErrorKind, Result};

use super::values::{shared, size};
use super::{Gatherer, Node, Waiting, get};
use crate::error::{self, Access};

/// So many keys has one `MGET` of a batch, so that the server turns to others in between.
const KEYS: usize = 64;

/// Sends batches for as long as something piles up.
pub(super) struct Sender {
    node: Arc<Node>,
    ended: bool,
}

impl Sender {
    /// One that has been counted already.
    pub(super) fn new(node: &Arc<Node>) -> Self {
        Self { node: Arc::clone(node), ended: false }
    }

    pub(super) async fn run(mut self, deadline: Duration) {
        loop {
            // Those that were just answered read on, and come into this batch. With nothing else to do it costs nothing.
            tokio::task::yield_now().await;
            let Some(mut batch) = self.take() else { return };
            batch.retain(|waiting| !waiting.caller.reply.is_closed());
            self.send(batch, deadline).await;
        }
    }

    /// Asks for a batch, until it is answered or its last caller has waited for the deadline. Each has all of that for
    /// itself. Nobody in the queue waits longer either: who is there came after those of this batch.
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
        let most = gatherer.sizes.measure().batch.min(waiting);
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
        gatherer.sizes.seen(sizes.clone().count(), sizes.sum());
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
