//! Builds rate limits of one kind.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::denials::Denials;
use super::facade::Shared;
use super::outage::{OnOutage, Outage};
use super::subject::AddressPrefix;
use super::telemetry::Telemetry;
use super::{Calendar, Limits, RateLimiter, Tier};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::key::Namespace;
use crate::layer::deadline::bounded;
use crate::time::{hours, minutes, seconds};

/// Builds [`Limits`].
#[derive(Debug)]
#[must_use = "call build()"]
pub struct LimitsBuilder {
    store: Result<Arc<dyn RateLimiter>>,
    environment: Environment,
    kind: String,
    tiers: Vec<Result<Tier>>,
    plans: Vec<(String, Vec<Tier>)>,
    addresses: Result<AddressPrefix>,
    on_outage: OnOutage,
    denials: usize,
}

impl LimitsBuilder {
    /// Limits of one kind on any backend, without a bundle.
    pub fn new(store: Arc<dyn RateLimiter>, environment: &Environment, kind: &str) -> Self {
        Self::on(Ok(bounded(store, environment)), environment, kind)
    }

    pub(crate) fn on(store: Result<Arc<dyn RateLimiter>>, environment: &Environment, kind: &str) -> Self {
        Self {
            store,
            environment: environment.clone(),
            kind: kind.into(),
            tiers: Vec::new(),
            plans: Vec::new(),
            addresses: Ok(AddressPrefix::default()),
            on_outage: OnOutage::default(),
            denials: 0,
        }
    }

    /// `n` at once, then evenly `n` a second: see [`per`](Self::per).
    pub fn per_second(self, n: u32) -> Self {
        self.per(n, seconds(1))
    }

    /// `n` at once, then evenly `n` a minute: see [`per`](Self::per).
    pub fn per_minute(self, n: u32) -> Self {
        self.per(n, minutes(1))
    }

    /// `n` at once, then evenly `n` an hour: see [`per`](Self::per).
    pub fn per_hour(self, n: u32) -> Self {
        self.per(n, hours(1))
    }

    /// `n` at once, then evenly `n` per `period`. Whoever has taken none for a while may so take up to `2 × n` within one
    /// period: the burst, and what comes back meanwhile. [`Tier::with_burst`] with a smaller burst bounds that
    /// ([`tier`](Self::tier)).
    pub fn per(mut self, n: u32, period: Duration) -> Self {
        self.tiers.push(Tier::new(n, period));
        self
    }

    /// A tier with a burst of its own.
    pub fn tier(mut self, tier: Tier) -> Self {
        self.tiers.push(Ok(tier));
        self
    }

    /// `n` in each window of a calendar: see [`Tier::quota`].
    pub fn quota(mut self, n: u32, calendar: Calendar) -> Self {
        self.tiers.push(Tier::quota(n, calendar));
        self
    }

    /// Other tiers for some subjects, by a name: see [`Limits::plan`]. The tiers of the builder itself are for all who have
    /// no plan.
    pub fn plan(mut self, name: impl Into<String>, tiers: impl Into<Vec<Tier>>) -> Self {
        self.plans.push((name.into(), tiers.into()));
        self
    }

    /// How many leading bits of an IPv6 address are one subject; 64 unless set. With 128 each address counts for itself. Ranges
    /// of another width are other subjects, and start afresh.
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.addresses = AddressPrefix::new(bits);
        self
    }

    /// What is decided while the store does not answer; the error is answered unless set.
    pub const fn on_outage(mut self, policy: OnOutage) -> Self {
        self.on_outage = policy;
        self
    }

    /// Remembers up to so many denials in this process, so that whoever is denied and comes again costs no trip to the store until
    /// [`retry_after`](super::Decision::retry_after) is over, for a minute at most, and asks for as much under the same
    /// tiers. The last denial of a subject is remembered; none unless set, and over the number further ones are not.
    ///
    /// What gives permits back through these `Limits` or a clone ([`refund`](Limits::refund), [`reset`](Limits::reset),
    /// [`add`](Limits::add)) ends the denials of its subject here. Of what other processes give back this one learns within that minute.
    pub const fn remember_denials(mut self, subjects: usize) -> Self {
        self.denials = subjects;
        self
    }

    /// The limits.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name, a bad tier, the same twice, none or more than the backend takes, 8 with every one, two plans
    /// of one name, or a share of no process; `Unsupported` if the stores have no rate limits.
    pub fn build(self) -> Result<Limits> {
        let store = self.store?;
        let tiers = self.tiers.into_iter().collect::<Result<Vec<_>>>()?;
        store.capabilities().check_tiers(&tiers)?;
        let mut plans = HashMap::new();
        for (name, tiers) in self.plans {
            store.capabilities().check_tiers(&tiers)?;
            if plans.insert(name.clone(), tiers.into()).is_some() {
                return Err(Error::invalid(format!("two plans are named {name:?}")));
            }
        }
        let namespace = Namespace::new("rate_limit", &self.kind)?;
        let shared = Shared {
            store,
            environment: self.environment,
            telemetry: Telemetry::of(namespace.kind()),
            namespace,
            addresses: self.addresses?,
            outage: Outage::new(self.on_outage)?,
            denials: Denials::new(self.denials),
            waiting: Arc::default(),
            plans,
        };
        Ok(Limits { shared: Arc::new(shared), tiers: tiers.into() })
    }
}
