//! Rate limits: the arithmetic is core's, and what is used is stored as its fields. There are no leases, and attempts are not
//! counted.

use std::collections::BTreeMap;

use async_trait::async_trait;
use stanchion::contract::Contract;
use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, Decision, Grant, LeaseOutcome, LeaseRequest, LimitCapabilities,
    LimitTime, RateLimiter, Settlement, Tier, TierStatus, Usage,
};
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Error, Result};

use super::store::{Data, FileStore};

/// The fields of a subject, and until when they say anything.
#[derive(Default, serde::Serialize, serde::Deserialize)]
pub(crate) struct Used {
    fields: BTreeMap<String, String>,
    pub(crate) until: Timestamp,
}

impl Data {
    fn usage(&self, subject: &Key) -> Result<Usage> {
        let fields = self.limits.get(subject.as_str()).map(|used| used.fields.clone());
        Usage::from_fields(fields.unwrap_or_default())
    }

    fn keep(&mut self, subject: &Key, usage: &Usage, now: Timestamp) {
        let until = now.saturating_add(usage.lasts(LimitTime::wall(now)));
        let used = Used { fields: usage.fields().collect(), until };
        self.limits.insert(subject.to_string(), used);
    }
}

impl FileStore {
    /// One step on what a subject has used.
    async fn step<T: Send + 'static>(
        &self,
        operation: &'static str,
        key: &Key,
        tiers: &[Tier],
        step: impl FnOnce(&mut Usage, &[Tier], LimitTime) -> T + Send + 'static,
    ) -> Result<T> {
        RateLimiter::capabilities(self).check_tiers(tiers)?;
        let (key, tiers) = (key.clone(), tiers.to_vec());
        self.change(operation, move |data, now| {
            let mut usage = data.usage(&key)?;
            let answer = step(&mut usage, &tiers, LimitTime::wall(now));
            data.keep(&key, &usage, now);
            Ok(answer)
        })
        .await
    }
}

#[async_trait]
impl RateLimiter for FileStore {
    fn capabilities(&self) -> LimitCapabilities {
        LimitCapabilities::new(Contract::V1)
    }

    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        self.step("limit.check", key, tiers, move |usage, tiers, at| usage.check(tiers, cost, at)).await
    }

    async fn take_up_to(&self, key: &Key, tiers: &[Tier], most: u32) -> Result<Grant> {
        self.step("limit.take_up_to", key, tiers, move |usage, tiers, at| usage.take_up_to(tiers, most, at))
            .await
    }

    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        RateLimiter::capabilities(self).check_tiers(tiers)?;
        let (key, tiers) = (key.clone(), tiers.to_vec());
        self.look("limit.peek", move |data, now| Ok(data.usage(&key)?.peek(&tiers, LimitTime::wall(now))))
            .await
    }

    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()> {
        self.step("limit.refund", key, tiers, move |usage, tiers, at| usage.refund(tiers, cost, at)).await
    }

    async fn add(&self, key: &Key, permits: u32, life: Ttl) -> Result<u32> {
        LimitCapabilities::check_added(permits)?;
        let key = key.clone();
        self.change("limit.add", move |data, now| {
            let mut usage = data.usage(&key)?;
            let there = usage.add(permits, now.saturating_add(life.as_duration()), LimitTime::wall(now));
            data.keep(&key, &usage, now);
            Ok(there)
        })
        .await
    }

    async fn reset(&self, key: &Key) -> Result<()> {
        let key = key.clone();
        self.change("limit.reset", move |data, _| {
            data.limits.remove(key.as_str());
            Ok(())
        })
        .await
    }

    async fn lease(&self, _key: &Key, request: &LeaseRequest) -> Result<LeaseOutcome> {
        RateLimiter::capabilities(self).check_leases(request.most)?;
        Err(no_leases())
    }

    async fn give_back(&self, _key: &Key, _holder: &str) -> Result<bool> {
        Err(no_leases())
    }

    async fn attempt(&self, _key: &Key, _request: &AttemptRequest) -> Result<AttemptOutcome> {
        Err(no_attempts())
    }

    async fn settle(&self, _key: &Key, _settlement: &Settlement) -> Result<()> {
        Err(no_attempts())
    }
}

fn no_leases() -> Error {
    Error::unsupported("the file has no leases in flight")
}

fn no_attempts() -> Error {
    Error::unsupported("the file does not count attempts")
}
