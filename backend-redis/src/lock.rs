//! Locks: a key each, with the holder, the end of the lease by the server's clock, and the last fence.
//!
//! All in one key, since of several a script gets at none while their slot is being moved and one of them is not there.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::lock::{
    AcquireOutcome, Fence, Lease, LockCapabilities, LockRequest, Locker, ReleaseOutcome, RenewOutcome,
};
use stanchion::time::Ttl;

use crate::command::{Call, Lane, Scripts};
use crate::shared::{CONTRACT, Shared};
use crate::{reply, scripts};

/// How long the last fence is remembered after the last lease. Later ones are greater all the same, since they
/// are made of the time.
const FENCE_KEPT: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub(crate) struct RedisLocks(pub(crate) Arc<Shared>);

/// The arguments of acquiring and renewing: token, lease, and how long the key is kept.
fn arguments(token: String, lease: Ttl) -> [String; 3] {
    let kept = lease.as_duration().saturating_add(FENCE_KEPT).as_millis();
    [token, lease.as_millis().to_string(), kept.to_string()]
}

#[async_trait]
impl Locker for RedisLocks {
    fn capabilities(&self) -> LockCapabilities {
        LockCapabilities::new(CONTRACT).call_deadline(self.0.deadline)
    }

    async fn acquire(&self, request: &LockRequest) -> Result<AcquireOutcome> {
        let call = Call::write("lock.acquire");
        let lock = self.0.layout().lock(&request.key);
        let args = arguments(request.token.to_hex(), request.lease);
        let args = args.each_ref().map(String::as_bytes);
        let reply = self.0.client.run(call, scripts::LOCK_ACQUIRE.with(&[&lock], &args)).await?;
        let (held, number) = pair(reply).ok_or_else(|| call.unexpected())?;
        Ok(match held {
            1 => AcquireOutcome::Acquired(Lease::new(
                request.key.clone(),
                request.token.clone(),
                Fence::new(number),
                request.lease,
            )),
            _ => AcquireOutcome::Busy { remaining: Duration::from_millis(number) },
        })
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<RenewOutcome>> {
        let call = Call::write("lock.renew").by(Lane::Renewals);
        let renewals = Scripts::many(leases.len(), |step| {
            let lease = &leases[step.index];
            let lock = self.0.layout().lock(&lease.key);
            let args = arguments(lease.token.to_hex(), lease.lease);
            let args = args.each_ref().map(String::as_bytes);
            scripts::LOCK_RENEW.routed(step.form, &[&lock], &args)
        });
        let renewed = self.0.client.run_all(call, renewals).await?;
        call.each(renewed, |reply| match reply::count(reply)? {
            1 => Some(RenewOutcome::Held),
            0 => Some(RenewOutcome::Lost),
            _ => None,
        })
    }

    async fn release(&self, lease: &Lease) -> Result<ReleaseOutcome> {
        let call = Call::write("lock.release");
        let lock = self.0.layout().lock(&lease.key);
        let token = lease.token.to_hex();
        let released =
            self.0.client.run(call, scripts::LOCK_RELEASE.with(&[&lock], &[token.as_bytes()])).await?;
        match reply::count(released) {
            Some(1) => Ok(ReleaseOutcome::Released),
            Some(0) => Ok(ReleaseOutcome::WasLost),
            _ => Err(call.unexpected()),
        }
    }

    async fn inspect(&self, key: &Key) -> Result<Option<(Fence, Duration)>> {
        let call = Call::read("lock.inspect");
        let lock = self.0.layout().lock(key);
        let reply = self.0.client.run(call, scripts::LOCK_INSPECT.with(&[&lock], &[])).await?;
        if reply == Value::Nil {
            return Ok(None);
        }
        let (fence, left) = pair(reply).ok_or_else(|| call.unexpected())?;
        Ok(Some((Fence::new(fence), Duration::from_millis(left))))
    }
}

/// A reply of two numbers.
fn pair(reply: Value) -> Option<(u64, u64)> {
    let mut items = reply::array(reply)?.into_iter().map(reply::count);
    match (items.next()?, items.next()?, items.next()) {
        (Some(first), Some(second), None) => Some((first, second)),
        _ => None,
    }
}
