//! Builds failed attempts of one kind.

use std::sync::Arc;
use std::time::Duration;

use super::Attempts;
use super::counted::Settings;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::event::standard::LockedOut;
use crate::event::{EventBus, Topic};
use crate::key::Namespace;
use crate::layer::deadline::bounded;
use crate::limit::{AddressPrefix, Lockout, RateLimiter};
use crate::time::{Ttl, hours, minutes};

/// Builds [`Attempts`].
#[derive(Debug)]
#[must_use = "call build()"]
pub struct AttemptsBuilder {
    store: Result<Arc<dyn RateLimiter>>,
    events: Result<Arc<dyn EventBus>>,
    environment: Environment,
    kind: String,
    service: String,
    here: Result<Lockout>,
    account: Result<Lockout>,
    network: Result<Lockout>,
    known_for: Duration,
    addresses: Result<AddressPrefix>,
    publishes: bool,
}

impl AttemptsBuilder {
    /// Attempts of one kind on any backend, without a bundle.
    pub fn new(store: Arc<dyn RateLimiter>, environment: &Environment, kind: &str) -> Self {
        let none = Error::new(ErrorKind::Unsupported, "there are no events: give an event bus");
        Self::on(Ok(bounded(store, environment)), Err(none), environment, kind, kind)
    }

    pub(crate) fn on(
        store: Result<Arc<dyn RateLimiter>>,
        events: Result<Arc<dyn EventBus>>,
        environment: &Environment,
        service: &str,
        kind: &str,
    ) -> Self {
        let day = hours(24);
        Self {
            store,
            events,
            environment: environment.clone(),
            kind: kind.into(),
            service: service.into(),
            here: Lockout::new(5, minutes(15), minutes(1), day, day),
            account: Lockout::new(100, hours(1), minutes(5), hours(1), day),
            network: Lockout::new(50, minutes(15), minutes(1), hours(1), day),
            known_for: 30 * day,
            addresses: Ok(AddressPrefix::default()),
            publishes: false,
        }
    }

    /// When failures of an account from one network lock that network out of that account. Unless set: 5 in 15 minutes, first for a minute,
    /// each further time for twice as long, to at most a day; a lock-out is remembered for a day after its end.
    pub fn from_one_network(mut self, lockout: Lockout) -> Self {
        self.here = Ok(lockout);
        self
    }

    /// When failures of an account from all networks together lock out networks from which nobody has logged in to it. Unless set:
    /// 100 in an hour, first for 5 minutes, to at most an hour; remembered for a day.
    pub fn of_one_account(mut self, lockout: Lockout) -> Self {
        self.account = Ok(lockout);
        self
    }

    /// When failures from a network at all accounts together lock it out of accounts to which nobody has logged in from there. Unless
    /// set: 50 in 15 minutes, first for a minute, to at most an hour; remembered for a day.
    pub fn over_all_accounts(mut self, lockout: Lockout) -> Self {
        self.network = Ok(lockout);
        self
    }

    /// For how long a network is known to an account after a log-in from there; 30 days unless set. The last 64 are known
    /// ([`Failures::MAX_KNOWN`](crate::limit::Failures::MAX_KNOWN)), whatever strangers do.
    pub const fn known_for(mut self, known_for: Duration) -> Self {
        self.known_for = known_for;
        self
    }

    /// How many leading bits of an IPv6 address are one network; 64 unless set. An IPv4 address is a network.
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.addresses = AddressPrefix::new(bits);
        self
    }

    /// Where events are published; the bundle's unless set.
    pub fn event_bus(mut self, events: Arc<dyn EventBus>) -> Self {
        self.events = Ok(events);
        self
    }

    /// Publishes [`LockedOut`] when a lock-out begins.
    pub const fn publishing(mut self) -> Self {
        self.publishes = true;
        self
    }

    /// The attempts.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name, a bad prefix, and a network that is known for no time; `Unsupported` if the stores have no rate
    /// limits, do not count attempts, or have no events and are to publish.
    pub fn build(self) -> Result<Attempts> {
        let store = self.store?;
        store.capabilities().check_attempts()?;
        let environment = self.environment;
        let locked_out = if self.publishes {
            Some(Topic::<LockedOut>::new(self.events?, environment.clone(), self.service)?)
        } else {
            None
        };
        Ok(Attempts::new(Settings {
            store,
            environment,
            namespace: Namespace::new("attempts", &self.kind)?,
            here: self.here?,
            account: self.account?,
            network: self.network?,
            known_for: Ttl::new(self.known_for)?,
            addresses: self.addresses?,
            locked_out,
        }))
    }
}
