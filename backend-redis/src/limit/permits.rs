//! Permits: a hash for each subject, with the state of each tier in a field.

use std::time::Duration;

use redis::Value;
use stanchion::Result;
use stanchion::key::Key;
use stanchion::limit::{Decision, Grant, LimitCapabilities, RateLimiter as _, Tier, TierStatus, Usage};
use stanchion::time::Ttl;

use super::RedisLimits;
use crate::command::Call;
use crate::{reply, scripts};

/// What is done with permits.
#[derive(Debug, Clone, Copy)]
pub(super) enum Mode {
    /// All of them are taken, or none.
    Take,
    /// As many are taken as there are.
    UpTo,
    /// They are given back.
    Refund,
}

impl Mode {
    const fn text(self) -> &'static str {
        match self {
            Self::Take => "take",
            Self::UpTo => "up_to",
            Self::Refund => "refund",
        }
    }
}

/// What the script answers.
pub(super) struct Reply {
    taken: u32,
    retry_after: Duration,
    waits_for: i64,
    pub(super) tiers: Vec<TierStatus>,
}

impl Reply {
    fn read(value: Value, tiers: usize) -> Option<Self> {
        let items = reply::array(value)?.into_iter().map(reply::integer).collect::<Option<Vec<_>>>()?;
        let [_now, taken, wait, waits_for, statuses @ ..] = items.as_slice() else {
            return None;
        };
        let micros = |number: i64| u64::try_from(number).ok().map(Duration::from_micros);
        let statuses = statuses
            .chunks_exact(3)
            .map(|one| Some(TierStatus::new(u32::try_from(one[0]).ok()?, micros(one[1])?, micros(one[2])?)))
            .collect::<Option<Vec<_>>>()
            .filter(|statuses| statuses.len() == tiers)?;
        let taken = u32::try_from(*taken).ok()?;
        Some(Self { taken, retry_after: micros(*wait)?, waits_for: *waits_for, tiers: statuses })
    }

    pub(super) fn decision(self, tiers: usize) -> Option<Decision> {
        match self.taken {
            1 => Some(Decision::allowed(self.tiers)),
            0 => {
                let tier = usize::try_from(self.waits_for).ok().filter(|tier| *tier < tiers)?;
                Some(Decision::denied(self.retry_after, tier, self.tiers))
            }
            _ => None,
        }
    }

    pub(super) fn granted(self, most: u32) -> Option<Grant> {
        (self.taken <= most).then(|| Grant::new(self.taken, self.tiers))
    }
}

impl RedisLimits {
    pub(super) async fn permits(
        &self,
        call: Call,
        mode: Mode,
        key: &Key,
        tiers: &[Tier],
        cost: u32,
    ) -> Result<Reply> {
        self.capabilities().check_tiers(tiers).map_err(|error| call.named(error))?;
        let args = arguments(mode, tiers, cost);
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        let key = self.0.layout().key(key);
        let reply = self.0.client.run(call, scripts::LIMIT_PERMITS.with(&[&key], &args)).await?;
        Reply::read(reply, tiers.len()).ok_or_else(|| call.unexpected())
    }

    pub(super) async fn add_permits(&self, call: Call, key: &Key, permits: u32, life: Ttl) -> Result<u32> {
        LimitCapabilities::check_added(permits).map_err(|error| call.named(error))?;
        let args = [permits.to_string(), life.as_millis().to_string(), Usage::MAX_EXTRA.to_string()];
        let args: Vec<_> = args.iter().map(String::as_bytes).collect();
        let key = self.0.layout().key(key);
        let reply = self.0.client.run(call, scripts::LIMIT_ADD.with(&[&key], &args)).await?;
        let there = reply::array(reply).and_then(|items| reply::count(items.into_iter().nth(1)?));
        there.and_then(|there| u32::try_from(there).ok()).ok_or_else(|| call.unexpected())
    }
}

/// What the script takes: what is done, the permits, and for each tier its field and its numbers.
fn arguments(mode: Mode, tiers: &[Tier], cost: u32) -> Vec<String> {
    let mut args = vec![mode.text().to_owned(), cost.to_string()];
    for tier in tiers {
        let numbers = match (tier.emission(), tier.calendar()) {
            (Some((numerator, denominator)), _) => [numerator.to_string(), denominator.to_string()],
            (None, Some(calendar)) => {
                [calendar.unit_name().to_owned(), calendar.offset_minutes().to_string()]
            }
            (None, None) => continue,
        };
        args.push(tier.id());
        args.extend(numbers);
        args.push(tier.burst().to_string());
    }
    args
}
