//! What an event backend implements.

use std::collections::BTreeSet;
use std::fmt;

use async_trait::async_trait;

use super::{Envelope, EventCapabilities, Subscription};
use crate::error::{Error, Result};
use crate::key::Name;

/// What to subscribe to.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubscribeOptions {
    /// The domains: the part of an event type before the dot. One domain is one channel and one order.
    pub domains: BTreeSet<Name>,
    /// How many events are kept for a subscriber that is slow; beyond that the oldest are dropped and
    /// counted in [`Received::Lagged`](super::Received::Lagged).
    pub buffer: usize,
}

impl SubscribeOptions {
    /// The default buffer.
    pub const BUFFER: usize = 1_024;
    /// The largest buffer.
    pub const MAX_BUFFER: usize = 1 << 20;

    /// One domain.
    pub fn new(domain: Name) -> Self {
        Self { domains: BTreeSet::from([domain]), buffer: Self::BUFFER }
    }

    /// With another domain too.
    #[must_use]
    pub fn and(mut self, domain: Name) -> Self {
        self.domains.insert(domain);
        self
    }

    /// With a buffer of this many events.
    ///
    /// # Errors
    /// `InvalidInput` for zero or more than [`Self::MAX_BUFFER`].
    pub fn buffer(mut self, events: usize) -> Result<Self> {
        self.buffer = events;
        self.check()?;
        Ok(self)
    }

    /// Refuses a buffer out of its bounds, and a subscription to nothing; for backends.
    pub fn check(&self) -> Result<()> {
        if self.buffer == 0 || self.buffer > Self::MAX_BUFFER {
            return Err(Error::invalid(format!("an event buffer takes 1 to {} events", Self::MAX_BUFFER)));
        }
        if self.domains.is_empty() {
            return Err(Error::invalid("a subscription needs at least one domain"));
        }
        Ok(())
    }
}

/// Publish and subscribe. Services use [`Topic`](super::Topic) instead.
///
/// # Contract
/// - Once `subscribe` has returned, every event published in its domains through any handle is delivered to
///   it, unless it is closed, lags, or the connection is lost; the last two are said in the stream. One that was
///   published just before may be delivered as well.
/// - Events that one handle published in one domain, each after the other's answer, arrive in that order,
///   none twice.
/// - An event that has reached a handle is not kept for its later subscriptions. One that is still on its way, between
///   the nodes of a Cluster say, may reach a subscription that began after it was published.
/// - A slow or stuck subscriber holds up nobody else.
/// - What is refused for one domain harms no other: a subscription that the server no longer allows ends, and
///   [says why](super::Received::Ended), and those to other domains go on.
/// - Closing or dropping a subscription ends it at the server.
///
/// # Cancel safety
/// Dropping `publish` leaves the event either not sent or sent. Dropping `subscribe` leaves no subscription.
#[async_trait]
pub trait EventBus: fmt::Debug + Send + Sync + 'static {
    /// What this backend can take; constant over its life.
    fn capabilities(&self) -> EventCapabilities;

    /// Sends an event to the subscribers of its domain. `Ok` says that the backend has taken it, not that
    /// anybody was there.
    async fn publish(&self, event: &Envelope) -> Result<()>;

    /// Subscribes; returns once the server has confirmed it.
    async fn subscribe(&self, options: SubscribeOptions) -> Result<Box<dyn Subscription>>;
}
