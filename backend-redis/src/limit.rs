//! Rate limits: a hash for each subject, with the state of each tier in a field.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::limit::{Decision, LimitCapabilities, RateLimiter, Tier, TierStatus};

use crate::command::Call;
use crate::shared::{CONTRACT, Shared};
use crate::{reply, scripts};

#[derive(Debug)]
pub(crate) struct RedisLimits(pub(crate) Arc<Shared>);

#[async_trait]
impl RateLimiter for RedisLimits {
    fn capabilities(&self) -> LimitCapabilities {
        LimitCapabilities::new(CONTRACT).call_deadline(self.0.deadline)
    }

    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        let call = Call::write("limit.check");
        self.capabilities().check_tiers(tiers).map_err(|error| call.named(error))?;
        // No state is needed to see that it can never be allowed.
        if let Some(tier) = tiers.iter().position(|tier| cost > tier.burst()) {
            return Ok(Decision::CostExceedsCapacity { tier });
        }
        self.take(call, key, tiers, cost).await
    }

    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        let call = Call::read("limit.peek");
        self.capabilities().check_tiers(tiers).map_err(|error| call.named(error))?;
        match self.take(call, key, tiers, 0).await? {
            Decision::Allowed { tiers } => Ok(tiers),
            _ => Err(call.unexpected()),
        }
    }

    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()> {
        let call = Call::write("limit.refund");
        self.capabilities().check_tiers(tiers).map_err(|error| call.named(error))?;
        let args = arguments(tiers, cost);
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        let key = self.0.layout().key(key);
        self.0.client.run(call, scripts::LIMIT_REFUND.with(&[&key], &args)).await.map(drop)
    }
}

impl RedisLimits {
    async fn take(&self, call: Call, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        let args = arguments(tiers, cost);
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        let key = self.0.layout().key(key);
        let reply = self.0.client.run(call, scripts::LIMIT_CHECK.with(&[&key], &args)).await?;
        decision(reply, tiers.len()).ok_or_else(|| call.unexpected())
    }
}

/// What both scripts take: the permits, and for each tier its field, the time for one permit, and its burst.
fn arguments(tiers: &[Tier], cost: u32) -> Vec<String> {
    let mut args = vec![cost.to_string()];
    for tier in tiers {
        let (numerator, denominator) = tier.emission();
        args.extend([tier.id(), numerator.to_string(), denominator.to_string(), tier.burst().to_string()]);
    }
    args
}

/// The reply to a check of this many tiers.
fn decision(reply: Value, tiers: usize) -> Option<Decision> {
    let items = reply::array(reply)?.into_iter().map(reply::integer).collect::<Option<Vec<_>>>()?;
    let [_now, allowed, wait, waits_for, standings @ ..] = items.as_slice() else {
        return None;
    };
    let micros = |number: i64| u64::try_from(number).ok().map(Duration::from_micros);
    let standings = standings
        .chunks_exact(3)
        .map(|one| Some(TierStatus::new(u32::try_from(one[0]).ok()?, micros(one[1])?, micros(one[2])?)))
        .collect::<Option<Vec<_>>>()
        .filter(|standings| standings.len() == tiers)?;
    match allowed {
        1 => Some(Decision::Allowed { tiers: standings }),
        0 => Some(Decision::Denied {
            retry_after: micros(*wait)?,
            tier: usize::try_from(*waits_for).ok().filter(|tier| *tier < tiers)?,
            tiers: standings,
        }),
        _ => None,
    }
}
