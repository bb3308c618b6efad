//! Batches of cached values, sent in groups.
//!
//! The replies of a connection come in the order of its requests, and how large values are is not known before they come. So a
//! large batch goes by a connection of its own, in groups that another batch gets in between, each with a deadline of its own.

use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use redis::Value;
use stanchion::{Effect, Error, Result};

use crate::command::{Call, Lane};

/// Reads of more keys go by the connection for bulk: so many values of the largest size are 16 MiB.
const FEW_READ: usize = 16;
/// Writes of more keys do,
const FEW_WRITTEN: usize = 64;
/// and what has more bytes, as far as that is known.
const FEW_BYTES: usize = 256 * 1_024;
/// So many keys are read in the first group while nothing is known about their values.
const FIRST: usize = 128;
/// Groups are as large as that their values are about so large together,
const BYTES_READ: usize = 4 * 1_024 * 1_024;
/// or those that are written,
const BYTES_WRITTEN: usize = 1_024 * 1_024;
/// within these numbers of keys.
const LEAST: usize = 16;
const MOST: usize = 1_024;
/// The server has a millisecond more for so many keys, and the way to it for so many bytes.
const KEYS_PER_MS: usize = 8;
const BYTES_PER_MS: usize = 8 * 1_024;

/// What batches have shown so far.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// How large values were of late, on average; 0 while it is not known.
    bytes_each: AtomicUsize,
}

/// The bytes that are written for each key; `None` where values are read.
type Written<'a> = Option<&'a (dyn Fn(usize) -> usize + Sync)>;

impl Groups {
    /// Sends a batch of so many keys, group by group. The replies are in the order of the keys.
    ///
    /// After a failure that others would meet as well, the rest is not sent. Each group has this deadline and what its
    /// size adds to that.
    pub(super) async fn send<F>(
        &self,
        (call, deadline): (Call, Duration),
        count: usize,
        written: Written<'_>,
        send: impl Fn(Call, Range<usize>) -> F,
    ) -> Result<Vec<Result<Value>>>
    where
        F: Future<Output = Result<Vec<Result<Value>>>>,
    {
        let call = call.by(self.lane(count, written));
        let mut replies = Vec::with_capacity(count);
        while replies.len() < count {
            let group = replies.len()..self.end(replies.len(), count, written);
            let bytes = written.map_or(0, |written| group.clone().map(written).sum());
            let deadline = deadline.saturating_add(allowance(group.len(), bytes));
            // On the connection that small requests share a deadline is one, whatever comes for others.
            let sent = match call.lane {
                Lane::Bulk => call.extended(deadline),
                _ => call.within(deadline),
            };
            match send(sent, group.clone()).await {
                Ok(some) => replies.extend(some),
                // Without another there is nothing to be added to the error.
                Err(error) if group.len() == count => return Err(error),
                Err(error) => replies.resize(group.end, Err(error)),
            }
            if replies.len() != group.end {
                return Err(call.unexpected());
            }
            let these = &replies[group];
            if written.is_none() {
                self.learn(these);
            }
            if let Some(failure) = these.iter().find_map(lasting) {
                replies.resize(count, Err(failure.clone().with_effect(Effect::NotApplied)));
            }
        }
        Ok(replies)
    }

    fn lane(&self, count: usize, written: Written<'_>) -> Lane {
        if count == 1 {
            return Lane::Commands;
        }
        let (few, bytes) = match written {
            None => (FEW_READ, count.saturating_mul(self.bytes_each.load(Ordering::Relaxed))),
            Some(written) => (FEW_WRITTEN, (0..count).map(written).sum()),
        };
        if count > few || bytes > FEW_BYTES { Lane::Bulk } else { Lane::Commands }
    }

    /// Where the group ends that begins here.
    fn end(&self, begin: usize, count: usize, written: Written<'_>) -> usize {
        let Some(written) = written else {
            let keys = match self.bytes_each.load(Ordering::Relaxed) {
                0 => FIRST,
                bytes => (BYTES_READ / bytes).clamp(LEAST, MOST),
            };
            return count.min(begin + keys);
        };
        let mut bytes = 0_usize;
        let fits = |at: &usize| {
            bytes = bytes.saturating_add(written(*at));
            bytes <= BYTES_WRITTEN
        };
        // One at least, however large it is.
        let fitting = (begin..count.min(begin + MOST)).take_while(fits).count();
        begin + fitting.max(1)
    }

    fn learn(&self, replies: &[Result<Value>]) {
        let values = replies.iter().flatten().map(size).filter(|bytes| *bytes > 0);
        let (count, bytes) = values.fold((0, 0), |(count, sum), bytes| (count + 1, sum + bytes));
        if let Some(latest) = bytes.checked_div(count) {
            // What is large now is expected to be so at once, and no longer only after a while.
            let before = self.bytes_each.load(Ordering::Relaxed) / 4 * 3;
            self.bytes_each.store(before.max(latest), Ordering::Relaxed);
        }
    }
}

fn allowance(keys: usize, bytes: usize) -> Duration {
    // None for a single one, which has the deadline itself.
    let millis = keys / KEYS_PER_MS + bytes.div_ceil(BYTES_PER_MS);
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

/// A failure that is not of one key alone.
fn lasting(reply: &Result<Value>) -> Option<&Error> {
    reply.as_ref().err().filter(|error| error.kind().is_transient())
}

fn size(value: &Value) -> usize {
    match value {
        Value::BulkString(bytes) => bytes.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use stanchion::ErrorKind;

    use super::*;

    const DEADLINE: Duration = Duration::from_millis(100);

    /// The groups that a batch is sent in, each with its lane and deadline.
    async fn sent(
        groups: &Groups,
        count: usize,
        written: Written<'_>,
        reply: impl Fn(usize) -> Result<Value>,
    ) -> (Vec<(Range<usize>, Call)>, Vec<Result<Value>>) {
        let seen = Mutex::new(Vec::new());
        let send = |call: Call, group: Range<usize>| {
            seen.lock().unwrap().push((group.clone(), call));
            std::future::ready(Ok(group.map(&reply).collect()))
        };
        let replies = groups.send((Call::read("test"), DEADLINE), count, written, send).await.unwrap();
        (seen.into_inner().unwrap(), replies)
    }

    fn value(bytes: usize) -> Value {
        Value::BulkString(vec![b'x'; bytes])
    }

    #[tokio::test]
    async fn reads_are_cut_by_what_values_are_found_to_be() {
        let groups = Groups::default();
        let (seen, replies) = sent(&groups, 16, None, |_| Ok(value(10))).await;
        assert_eq!((seen.len(), seen[0].1.lane, replies.len()), (1, Lane::Commands, 16));
        let (seen, _) = sent(&groups, 5_000, None, |_| Ok(value(10))).await;
        let lengths: Vec<_> = seen.iter().map(|(group, _)| group.len()).collect();
        assert_eq!(lengths, [1_024, 1_024, 1_024, 1_024, 904]);
        assert!(seen.iter().all(|(_, call)| call.lane == Lane::Bulk && call.extended));
        assert_eq!(seen[0].1.deadline, Some(DEADLINE + Duration::from_millis(128)));

        let groups = Groups::default();
        let (seen, _) = sent(&groups, 300, None, |_| Ok(value(100_000))).await;
        let lengths: Vec<_> = seen.iter().map(|(group, _)| group.len()).collect();
        assert_eq!(lengths, [128, 41, 41, 41, 41, 8]);
        let (seen, _) = sent(&groups, 3, None, |_| Ok(value(100_000))).await;
        assert_eq!(seen[0].1.lane, Lane::Bulk, "they are expected to be large");
        for _ in 0..50 {
            sent(&groups, 3, None, |_| Ok(value(10))).await;
        }
        let (seen, _) = sent(&groups, 16, None, |_| Ok(value(10))).await;
        assert_eq!(seen[0].1.lane, Lane::Commands, "and no more");
    }

    #[tokio::test]
    async fn a_single_read_and_a_small_batch_have_a_deadline_whatever_comes() {
        let groups = Groups::default();
        for (count, more) in [(1, 0), (FEW_READ, 2)] {
            let (seen, _) = sent(&groups, count, None, |_| Ok(value(10))).await;
            let call = seen[0].1;
            let deadline = Some(DEADLINE + Duration::from_millis(more));
            assert_eq!((call.lane, call.extended, call.deadline), (Lane::Commands, false, deadline));
        }
        let (seen, _) = sent(&groups, FEW_READ + 1, None, |_| Ok(value(1_000_000))).await;
        assert!(seen[0].1.extended);
        let (seen, _) = sent(&groups, 1, None, |_| Ok(value(1_000_000))).await;
        assert_eq!((seen[0].1.lane, seen[0].1.extended), (Lane::Commands, false), "however large it may be");
    }

    #[tokio::test]
    async fn writes_are_cut_by_their_bytes() {
        let groups = Groups::default();
        let (seen, _) = sent(&groups, 64, Some(&|_| 4_096), |_| Ok(value(2))).await;
        assert_eq!((seen.len(), seen[0].1.lane), (1, Lane::Commands));
        let sizes = |at| if at == 3 { 3_000_000 } else { 400_000 };
        let (seen, _) = sent(&groups, 7, Some(&sizes), |_| Ok(value(2))).await;
        let cuts: Vec<_> = seen.iter().map(|(group, _)| group.clone()).collect();
        assert_eq!(cuts, [0..2, 2..3, 3..4, 4..6, 6..7]);
        assert_eq!(seen[2].1.deadline, Some(DEADLINE + Duration::from_millis(367)));
        assert_eq!(seen[2].1.lane, Lane::Bulk);
    }

    #[tokio::test]
    async fn after_a_failure_of_the_way_nothing_more_is_sent() {
        let fails = |at: usize, kind: ErrorKind| {
            move |index: usize| {
                if index == at {
                    Err(Error::new(kind, "x").with_effect(Effect::Unknown))
                } else {
                    Ok(value(1))
                }
            }
        };
        let groups = Groups::default();
        let (seen, replies) = sent(&groups, 300, None, fails(5, ErrorKind::Timeout)).await;
        assert_eq!((seen.len(), replies.len()), (1, 300));
        assert_eq!(replies[5].as_ref().unwrap_err().effect(), Effect::Unknown);
        assert_eq!(replies[299].as_ref().unwrap_err().effect(), Effect::NotApplied);
        // It is of one key alone.
        let groups = Groups::default();
        let (_, replies) = sent(&groups, 300, None, fails(5, ErrorKind::Codec)).await;
        assert_eq!(replies.iter().filter(|reply| reply.is_err()).count(), 1);
    }
}
