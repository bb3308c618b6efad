//! Single reads that come together are sent together.
//!
//! While few are on their way each goes out by itself. What piles up behind them is written as one batch, the next
//! as soon as one has come back. Nothing ever waits for a timer, and no caller drives another's read: a task of its
//! own owns each batch, so that a caller may be dropped at any time.

mod batch;
mod measure;
mod queue;
mod values;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use redis::Cmd;
use stanchion::key::Key;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::oneshot;

use self::batch::Sender;
use self::measure::{Measure, Sizes};
use self::queue::{Caller, Queue, Waiting};
pub(super) use self::values::held;
use super::Node;
use crate::error::{self, Access};

/// The reads of one master.
#[derive(Default)]
pub(super) struct Gatherer {
    singles: AtomicUsize,
    // As in the queue, to be looked at without its lock.
    senders: AtomicUsize,
    queue: Mutex<Queue>,
    // Many keys of the last batch held nothing.
    sparse: AtomicBool,
    sizes: Sizes,
    // The server, or its ACL, has refused `MGET`.
    refused: AtomicBool,
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
    /// Does something with the queue, and keeps the count that is looked at without its lock.
    fn with_queue<T>(&self, work: impl FnOnce(&mut Queue, &Measure) -> T) -> T {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        let done = work(&mut queue, self.sizes.measure());
        self.senders.store(queue.senders(), Ordering::Relaxed);
        done
    }

    /// Reads a key at this node.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing from others.
    pub(super) async fn get(node: &Arc<Node>, key: &Key, deadline: Duration) -> Result<Option<Bytes>> {
        let gatherer = node.gatherer();
        // While there are batches, whatever comes joins the next one.
        if gatherer.senders.load(Ordering::Relaxed) == 0
            && let Some(single) = Single::begin(&gatherer.singles, gatherer.sizes.measure().singles)
        {
            // The client's future is large: on the heap by itself, so that the many that are gathered are small.
            return Box::pin(Self::get_alone(node, key, deadline, single)).await;
        }
        let (reply, answer) = oneshot::channel();
        let caller = Caller { since: node.context().environment.clock.now(), reply };
        let waiting = Waiting { key: key.clone(), caller };
        if gatherer.with_queue(|queue, measure| queue.push(waiting, measure))? {
            Sender::start(node, deadline);
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
            node.gatherer().sizes.seen(1, bytes.len());
        }
        Ok(answer)
    }
}
