//! A deadline around every call.

use std::sync::Arc;
use std::time::Duration;

use super::{Answer, Around, Call, Layer};
use crate::cache::CacheStore;
use crate::clock::Clock;
use crate::contract::BaseCapabilities;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::event::EventBus;
use crate::limit::RateLimiter;
use crate::lock::Locker;
use crate::session::SessionStore;
use crate::token::TokenStore;

/// Ends every call that is not answered within a duration, by the clock of the [`Environment`], as
/// [`Timeout`](ErrorKind::Timeout): [`NotApplied`](crate::Effect::NotApplied) for what only reads, and
/// [`Unknown`](crate::Effect::Unknown) for a change.
///
/// A store that declares no [`call_deadline`](BaseCapabilities::call_deadline) is given one of
/// [5 seconds](Self::DEFAULT) without being asked, by [`Stores`](crate::stores::Stores) and by the constructor of every
/// façade; this layer is for a shorter one. A call ends when it is next polled: a store that blocks its thread can't be
/// bounded. What a subscription delivers, and when a feed is restored, has no deadline.
///
/// # Cancel safety
/// At the deadline the call is dropped, as if the caller had dropped it. A lock that may have been acquired all the same
/// is released by its façade.
#[derive(Debug, Clone)]
pub struct Deadline {
    within: Duration,
    clock: Arc<dyn Clock>,
}

impl Deadline {
    /// For a store that declares no deadline, unless
    /// [`StoresBuilder::call_deadline`](crate::stores::StoresBuilder::call_deadline) sets another.
    pub const DEFAULT: Duration = Duration::from_secs(5);

    /// Ends calls after this long.
    ///
    /// # Errors
    /// [`InvalidInput`](ErrorKind::InvalidInput) for zero.
    pub fn new(within: Duration, environment: &Environment) -> Result<Self> {
        check(within)?;
        Ok(Self::of(within, environment))
    }

    /// Of a duration that was checked.
    pub(crate) fn of(within: Duration, environment: &Environment) -> Self {
        Self { within, clock: Arc::clone(&environment.clock) }
    }

    /// The store under this deadline if it declares none, and else as it is.
    pub(crate) fn unless_declared<S: Declares + ?Sized>(&self, store: Arc<S>) -> Arc<S> {
        if store.base().call_deadline.is_some() { store } else { S::under(store, self) }
    }
}

/// Refuses a deadline that nothing can keep.
pub(crate) fn check(within: Duration) -> Result<()> {
    if within.is_zero() {
        return Err(Error::invalid("a call deadline must be longer than zero"));
    }
    Ok(())
}

/// The store as it is if it declares a deadline, and else under the default one: for façades that are given a store.
pub(crate) fn bounded<S: Declares + ?Sized>(store: Arc<S>, environment: &Environment) -> Arc<S> {
    Deadline::of(Deadline::DEFAULT, environment).unless_declared(store)
}

impl Around for Deadline {
    fn deadline(&self, own: Option<Duration>) -> Option<Duration> {
        Some(own.map_or(self.within, |own| own.min(self.within)))
    }

    async fn call<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        mut work: impl FnMut() -> Answer<'a, T> + Send + 'a,
    ) -> Result<T> {
        let over = self.clock.sleep_until(self.clock.now().saturating_add(self.within));
        tokio::select! {
            // An answer that is there counts, however late it is.
            biased;
            answer = work() => answer,
            () = over => Err(Error::new(ErrorKind::Timeout, format!("no answer within {:?}", self.within))
                .with_effect(call.unanswered())
                .with_operation(call.operation)),
        }
    }
}

/// A store trait, as far as its deadline goes.
pub(crate) trait Declares {
    fn base(&self) -> BaseCapabilities;
    fn under(store: Arc<Self>, deadline: &Deadline) -> Arc<Self>;
}

macro_rules! declares {
    ($($store:ident by $area:ident),*) => {
        $(impl Declares for dyn $store {
            fn base(&self) -> BaseCapabilities {
                self.capabilities().base
            }

            fn under(store: Arc<Self>, deadline: &Deadline) -> Arc<Self> {
                deadline.$area(store)
            }
        })*
    };
}
declares!(
    CacheStore by cache, SessionStore by sessions, EventBus by events,
    Locker by locks, RateLimiter by limits, TokenStore by tokens
);
