//! Rate limits: the arithmetic is core's, and the state is stored as its parts.

use async_trait::async_trait;
use stanchion::Result;
use stanchion::contract::Contract;
use stanchion::key::Key;
use stanchion::limit::{Decision, Gcra, LimitCapabilities, RateLimiter, Tier, TierStatus};

use super::store::{Data, FileStore};

impl Data {
    fn states(&self, subject: &Key, tiers: &[Tier]) -> Result<Vec<Gcra>> {
        let stored = self.limits.get(subject.as_str());
        let state = |tier: &Tier| match stored.and_then(|stored| stored.get(&tier.id())) {
            Some((micros, rest)) => Gcra::from_parts(*micros, *rest),
            None => Ok(Gcra::default()),
        };
        tiers.iter().map(state).collect()
    }

    fn keep(&mut self, subject: &Key, tiers: &[Tier], states: &[Gcra]) {
        let parts = tiers.iter().zip(states).map(|(tier, state)| (tier.id(), state.parts()));
        self.limits.entry(subject.to_string()).or_default().extend(parts);
    }
}

#[async_trait]
impl RateLimiter for FileStore {
    fn capabilities(&self) -> LimitCapabilities {
        LimitCapabilities::new(Contract::V1)
    }

    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        RateLimiter::capabilities(self).check_tiers(tiers)?;
        let (key, tiers) = (key.clone(), tiers.to_vec());
        self.change("limit.check", move |data, now| {
            let mut states = data.states(&key, &tiers)?;
            let decision = Gcra::check(&mut states, &tiers, cost, now);
            data.keep(&key, &tiers, &states);
            Ok(decision)
        })
        .await
    }

    async fn peek(&self, key: &Key, tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        RateLimiter::capabilities(self).check_tiers(tiers)?;
        let (key, tiers) = (key.clone(), tiers.to_vec());
        self.look("limit.peek", move |data, now| {
            let states = data.states(&key, &tiers)?;
            Ok(states.iter().zip(&tiers).map(|(state, tier)| state.status(tier, now)).collect())
        })
        .await
    }

    async fn refund(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<()> {
        RateLimiter::capabilities(self).check_tiers(tiers)?;
        let (key, tiers) = (key.clone(), tiers.to_vec());
        self.change("limit.refund", move |data, now| {
            let states = data.states(&key, &tiers)?;
            let states = states.iter().zip(&tiers).map(|(state, tier)| state.refunded(tier, cost, now));
            data.keep(&key, &tiers, &states.collect::<Vec<_>>());
            Ok(())
        })
        .await
    }
}
