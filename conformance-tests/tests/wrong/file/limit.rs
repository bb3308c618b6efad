//! Rate limits in the file, as the parts of [`Gcra`].

use async_trait::async_trait;
use stanchion::Result;
use stanchion::clock::{Clock, SystemClock};
use stanchion::contract::Contract;
use stanchion::key::Key;
use stanchion::limit::{Decision, Gcra, LimitCapabilities, RateLimiter, Tier, TierStatus};

use super::state::{Change, Files, State, not_here};

fn states(state: &State, key: &Key, tiers: &[Tier]) -> Result<Vec<Gcra>> {
    let stored = state.limits.get(key.as_str());
    let of = |tier: &Tier| match stored.and_then(|stored| stored.get(&tier.id())) {
        Some((micros, rest)) => Gcra::from_parts(*micros, *rest),
        None => Ok(Gcra::default()),
    };
    tiers.iter().map(of).collect()
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl RateLimiter for Files {
    fn capabilities(&self) -> LimitCapabilities {
        LimitCapabilities::new(Contract::V1)
    }

    async fn check(&self, key: &Key, tiers: &[Tier], cost: u32) -> Result<Decision> {
        self.change(Change::Limit, |state| {
            let mut states = states(state, key, tiers)?;
            let decision = Gcra::check(&mut states, tiers, cost, SystemClock.wall());
            if decision.is_allowed() {
                let stored = state.limits.entry(key.as_str().to_owned()).or_default();
                stored.extend(tiers.iter().map(Tier::id).zip(states.into_iter().map(Gcra::parts)));
            }
            Ok(decision)
        })
    }

    async fn peek(&self, _key: &Key, _tiers: &[Tier]) -> Result<Vec<TierStatus>> {
        not_here()
    }

    async fn refund(&self, _key: &Key, _tiers: &[Tier], _cost: u32) -> Result<()> {
        not_here()
    }
}
