//! Locks.

use std::collections::HashMap;

use proptest::prelude::*;
use proptest::sample::select;
use stanchion::key::Key;
use stanchion::lock::{
    AcquireOutcome, Fence, Lease, LockRequest, LockToken, Locker, ReleaseOutcome, RenewOutcome,
};
use stanchion::{Error, Result};

use super::Answer;
use super::answer::Grown;
use super::step::Hours;

/// An operation of a [`Locker`]; who asks is a number, of which the token is made.
#[derive(Debug, Clone)]
pub enum Operation {
    Acquire { lock: &'static str, who: u8, lease: Hours },
    Renew(Vec<(&'static str, u8, Hours)>),
    Release { lock: &'static str, who: u8 },
    Inspect(&'static str),
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    fences: HashMap<&'static str, Grown>,
    // Who holds a lock as far as the answers say: asked again, it has the same fence.
    held: HashMap<(&'static str, u8), Fence>,
}

pub(super) fn operation() -> impl Strategy<Value = Operation> + Clone {
    let lock = || select(&["a", "b", "a b"][..]);
    let who = || 0..3_u8;
    prop_oneof![
        4 => (lock(), who(), Hours::any()).prop_map(|(lock, who, lease)| Operation::Acquire { lock, who, lease }),
        2 => prop::collection::vec((lock(), who(), Hours::any()), 0..4).prop_map(Operation::Renew),
        3 => (lock(), who()).prop_map(|(lock, who)| Operation::Release { lock, who }),
        2 => lock().prop_map(Operation::Inspect),
    ]
}

fn key(lock: &str) -> Result<Key> {
    Key::new("locks", "lock", lock)
}

impl Memory {
    /// The lease of this holder; of one who holds nothing, what it might make up.
    fn lease(&self, lock: &'static str, who: u8, length: Hours) -> Result<Lease> {
        let fence = self.held.get(&(lock, who)).copied().unwrap_or(Fence::new(1));
        Ok(Lease::new(key(lock)?, LockToken::new([who; 16]), fence, length.ttl()))
    }
}

pub(super) async fn run(operation: &Operation, locks: &dyn Locker, memory: &mut Memory) -> Result<Answer> {
    Ok(match operation {
        Operation::Acquire { lock, who, lease } => {
            let request = LockRequest::new(key(lock)?, LockToken::new([*who; 16]), lease.ttl());
            match locks.acquire(&request).await? {
                AcquireOutcome::Acquired(lease) => {
                    let grown = memory.fences.entry(lock).or_default();
                    let again = memory.held.insert((lock, *who), lease.fence) == Some(lease.fence);
                    let number = lease.fence.get();
                    Answer::Acquired(if again { grown.rank(number) } else { grown.next(number) })
                }
                AcquireOutcome::Busy { remaining } => Answer::Busy(remaining.into()),
                other => {
                    return Err(Error::unsupported(format!("the model does not know the outcome {other:?}")));
                }
            }
        }
        Operation::Renew(leases) => {
            let leases = leases.iter().map(|(lock, who, length)| memory.lease(lock, *who, *length));
            let renewed = locks.renew(&leases.collect::<Result<Vec<_>>>()?).await?;
            Answer::Held(renewed.into_iter().map(|outcome| outcome == RenewOutcome::Held).collect())
        }
        Operation::Release { lock, who } => {
            let lease = memory.lease(lock, *who, Hours::ONE)?;
            Answer::Truth(locks.release(&lease).await? == ReleaseOutcome::Released)
        }
        Operation::Inspect(lock) => {
            let holder = locks.inspect(&key(lock)?).await?;
            let grown = memory.fences.entry(lock).or_default();
            Answer::Holder(holder.map(|(fence, left)| (grown.rank(fence.get()), left.into())))
        }
    })
}
