//! Batches of reads, each sent and answered as a whole.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use redis::{Cmd, Pipeline, Value};
use stanchion::key::Key;
use stanchion::{ErrorKind, Result};

use super::queue::{Queue, Waiting};
use super::values::{shared, size};
use super::{Gatherer, Node, get};
use crate::error::{self, Access};

/// So many keys has one `MGET` of a batch, so that the server turns to others in between.
const KEYS: usize = 64;

/// Sends batches for as long as something piles up.
pub(super) struct Sender {
    node: Arc<Node>,
    ended: bool,
}

impl Sender {
    /// Starts one that has been counted already.
    pub(super) fn start(node: &Arc<Node>, deadline: Duration) {
        let sender = Self { node: Arc::clone(node), ended: false };
        // One starts another, so that the future has to be of a type that does not contain itself.
        let sending: BoxFuture<'static, ()> = Box::pin(sender.run(deadline));
        // If the backend is closing, dropping the sender answers everybody.
        let _ = node.context().environment.tasks.spawn(sending);
    }

    async fn run(mut self, deadline: Duration) {
        loop {
            // Those that were just answered read on, and come into this batch. With nothing else to do it costs nothing.
            behind_those_that_are_ready().await;
            let Some(taken) = self.node.gatherer().with_queue(Queue::take) else {
                self.ended = true;
                return;
            };
            if taken.another {
                Self::start(&self.node, deadline);
            }
            self.send(self.wanted(taken.batch, deadline), deadline).await;
        }
    }

    /// Those that still want an answer: who has left does not, and whose time is over is told so.
    fn wanted(&self, mut batch: Vec<Waiting>, deadline: Duration) -> Vec<Waiting> {
        batch.retain(|waiting| !waiting.caller.reply.is_closed());
        let now = self.node.context().environment.clock.now();
        for late in batch.extract_if(.., |waiting| waiting.caller.is_late(now, deadline)) {
            late.caller.answer(Err(error::timed_out(deadline, Access::Read)));
        }
        batch
    }

    /// Asks for a batch, until it is answered or its last caller has waited for the deadline. Each has all of that for
    /// itself. Who is in the queue meanwhile came after those of this batch, and so is not late before they are.
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
            while let Some(late) = callers.next_if(|caller| caller.is_late(now, deadline)) {
                late.answer(Err(error::timed_out(deadline, Access::Read)));
            }
        }
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
        let mut refused = false;
        for (chunk, reply) in chunks.zip(replies) {
            match reply {
                Ok(Value::Array(values)) if values.len() == chunk.len() => {
                    answers.extend(values.into_iter().map(Ok));
                }
                Ok(_) => answers.extend(chunk.iter().map(|_| Err(error::unexpected_reply(Access::Read)))),
                // The right to `GET` is enough for all of this; what is denied of that is told for each.
                Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unsupported) => {
                    refused = true;
                    answers.extend(chunk.iter().map(|_| Ok(Value::Nil)));
                }
                Err(error) => answers.extend(chunk.iter().map(|_| Err(error.clone()))),
            }
        }
        let missed: Vec<_> =
            (0..batch.len()).filter(|at| matches!(answers.get(*at), Some(Ok(Value::Nil)))).collect();
        if !missed.is_empty() {
            let second = self.ask_each(missed.iter().map(|at| &batch[*at])).await;
            // It was the command that is denied, and not one of the keys.
            if refused && second.iter().all(Result::is_ok) {
                self.node.gatherer().refused.store(true, Ordering::Relaxed);
            }
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

/// Lets others run. Tokio's `yield_now` would keep the task with its thread for as long as one of them computes there.
async fn behind_those_that_are_ready() {
    let mut woken = false;
    std::future::poll_fn(|cx| {
        if std::mem::replace(&mut woken, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

impl Drop for Sender {
    /// Cut off, or never run: nobody may wait for it.
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        // Outside of the lock: who is dropped here wakes its caller.
        drop(self.node.gatherer().with_queue(|queue, _| queue.cut_off()));
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use tokio::runtime::Builder;

    use super::*;

    #[test]
    fn what_computes_on_the_thread_of_a_sender_does_not_hold_it_up() {
        let runtime = Builder::new_multi_thread().worker_threads(2).build().unwrap();
        let sender = runtime.spawn(async {
            let (goes_on, went_on) = mpsc::channel();
            // Woken last, it is run next by this thread, and by no other.
            let computes = tokio::spawn(async move { went_on.recv_timeout(Duration::from_secs(10)).is_ok() });
            behind_those_that_are_ready().await;
            let _ = goes_on.send(());
            computes.await.unwrap()
        });
        assert!(runtime.block_on(sender).unwrap(), "the sender went on only after it");
    }
}
