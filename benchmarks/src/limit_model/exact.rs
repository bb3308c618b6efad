//! The model: a leaky bucket in whole numbers, of which one permit is as many drops as its period has microseconds, and
//! each microsecond takes as many drops away as the limit has permits.

use std::time::Duration;

use stanchion::limit::{Tier, TierStatus};

use super::{Answer, Ask};

#[derive(Debug)]
pub(super) struct Model {
    buckets: Vec<Bucket>,
}

#[derive(Debug, Clone)]
struct Bucket {
    /// Drops of one permit.
    permit: u128,
    /// Drops that a microsecond takes away.
    leak: u128,
    burst: u32,
    drops: u128,
    at: u64,
}

impl Bucket {
    fn leak_until(&mut self, now: u64) {
        let passed = u128::from(now.saturating_sub(self.at));
        self.drops = self.drops.saturating_sub(passed * self.leak);
        self.at = now;
    }

    fn capacity(&self) -> u128 {
        self.permit * u128::from(self.burst)
    }

    /// Until no more than so many drops are left.
    fn until(&self, drops: u128) -> u64 {
        let micros = self.drops.saturating_sub(drops).div_ceil(self.leak);
        u64::try_from(micros).unwrap_or(u64::MAX)
    }

    fn remaining(&self) -> u32 {
        u32::try_from((self.capacity() - self.drops) / self.permit).unwrap_or(u32::MAX)
    }

    fn status(&self) -> TierStatus {
        let remaining = self.remaining();
        let next = u128::from((remaining + 1).min(self.burst)) * self.permit;
        let next_in = if remaining == self.burst { 0 } else { self.until(self.capacity() - next) };
        TierStatus::new(remaining, Duration::from_micros(next_in), Duration::from_micros(self.until(0)))
    }
}

impl Model {
    pub(super) fn new(tiers: &[Tier]) -> Self {
        let bucket = |tier: &Tier| Bucket {
            permit: tier.period().as_micros(),
            leak: u128::from(tier.limit()),
            burst: tier.burst(),
            drops: 0,
            at: 0,
        };
        Self { buckets: tiers.iter().map(bucket).collect() }
    }

    pub(super) fn answer(&mut self, ask: Ask, now: u64) -> Answer {
        self.buckets.iter_mut().for_each(|bucket| bucket.leak_until(now));
        match ask {
            Ask::Check(cost) => self.check(cost),
            Ask::UpTo(most) => {
                let there = self.buckets.iter().map(Bucket::remaining).min().unwrap_or(0).min(most);
                self.pour(there);
                Answer::Granted(there, self.statuses())
            }
            Ask::Refund(permits) => {
                for bucket in &mut self.buckets {
                    bucket.drops = bucket.drops.saturating_sub(bucket.permit * u128::from(permits));
                }
                Answer::Refunded
            }
        }
    }

    fn check(&mut self, cost: u32) -> Answer {
        if let Some(tier) = self.buckets.iter().position(|bucket| cost > bucket.burst) {
            return Answer::Impossible(tier);
        }
        let wait = |bucket: &Bucket| bucket.until(bucket.capacity() - bucket.permit * u128::from(cost));
        let mut longest = (0, 0);
        for (tier, bucket) in self.buckets.iter().enumerate() {
            if wait(bucket) > longest.0 {
                longest = (wait(bucket), tier);
            }
        }
        if longest.0 > 0 && cost > 0 {
            return Answer::Denied { wait: longest.0, tier: longest.1, tiers: self.statuses() };
        }
        self.pour(cost);
        Answer::Allowed(self.statuses())
    }

    fn pour(&mut self, permits: u32) {
        for bucket in &mut self.buckets {
            bucket.drops += bucket.permit * u128::from(permits);
        }
    }

    fn statuses(&self) -> Vec<TierStatus> {
        self.buckets.iter().map(Bucket::status).collect()
    }
}
