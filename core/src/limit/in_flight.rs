//! At most so many at once.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::place::{Place, Unanswered};
use super::subject::AddressPrefix;
use super::{LeaseOutcome, LeaseRequest, RateLimiter};
use crate::environment::Environment;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::key::{Identifier, Namespace};
use crate::layer::deadline::bounded;
use crate::time::{Monotonic, Ttl, seconds};

/// Builds [`InFlight`].
#[derive(Debug)]
#[must_use = "call build()"]
pub struct InFlightBuilder {
    store: Result<Arc<dyn RateLimiter>>,
    environment: Environment,
    kind: String,
    most: u32,
    life: Duration,
    addresses: Result<AddressPrefix>,
}

impl InFlightBuilder {
    /// Of one kind, at most so many of a subject at once, on any backend, without a bundle.
    pub fn new(store: Arc<dyn RateLimiter>, environment: &Environment, kind: &str, most: u32) -> Self {
        Self::on(Ok(bounded(store, environment)), environment, kind, most)
    }

    pub(crate) fn on(
        store: Result<Arc<dyn RateLimiter>>,
        environment: &Environment,
        kind: &str,
        most: u32,
    ) -> Self {
        let (environment, kind, life) = (environment.clone(), kind.into(), seconds(30));
        Self { store, environment, kind, most, life, addresses: Ok(AddressPrefix::default()) }
    }

    /// How long a place is held without being renewed; 30 seconds unless set. After a holder has died its place is taken for this
    /// long; work that may take longer [renews](InFlightGuard::renew).
    pub const fn lease(mut self, life: Duration) -> Self {
        self.life = life;
        self
    }

    /// How many leading bits of an IPv6 address are one subject; 64 unless set.
    pub fn ipv6_prefix(mut self, bits: u8) -> Self {
        self.addresses = AddressPrefix::new(bits);
        self
    }

    /// The limit.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name, a lease of zero, and a number of zero or over
    /// [`max_leases`](super::LimitCapabilities::max_leases); `Unsupported` if the stores have no rate limits, or no leases.
    pub fn build(self) -> Result<InFlight> {
        let store = self.store?;
        store.capabilities().check_leases(self.most)?;
        let namespace = Namespace::new("rate_limit", &self.kind)?;
        Ok(InFlight {
            store,
            environment: self.environment,
            unanswered: Arc::new(Unanswered::of(namespace.kind())),
            namespace,
            addresses: self.addresses?,
            most: self.most,
            life: Ttl::new(self.life)?,
        })
    }
}

/// A bound to how many are in flight at once of each subject, in all processes together, under
/// `rate_limit:{kind}:{subject}:in_flight`.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
/// use stanchion::limit::Entered;
/// use stanchion_memory::MemoryBackend;
///
/// let exports = MemoryBackend::new().stores().in_flight("export", 2).build()?;
/// match exports.enter("customer-7").await? {
///     Entered::In(guard) => {
///         println!("exporting");
///         guard.give_back().await?;
///     }
///     Entered::Full { retry_after } => println!("503, another may end within {retry_after:?}"),
/// }
/// # Ok(()) }
/// ```
///
/// # Giving back
/// A store that does not answer is asked again with a back-off: 100 ms at first, doubled for each further one, 5 s at most; between
/// half of it and all, at random, and on top of what the error [asks for](Error::retry_after). When the stores close it is asked at
/// once. That ends with the lease, with an error that is not [transient](ErrorKind::is_transient), and with the stores.
///
/// At most 1,024 places of an `InFlight` and its clones wait for that at a time. The others end with their leases, and
/// `stanchion_limit_places_left_total` counts them.
#[derive(Debug, Clone)]
pub struct InFlight {
    store: Arc<dyn RateLimiter>,
    environment: Environment,
    namespace: Namespace,
    unanswered: Arc<Unanswered>,
    addresses: AddressPrefix,
    most: u32,
    life: Ttl,
}

/// What came of asking to be in flight.
#[derive(Debug)]
#[must_use = "a place is given back when the guard is dropped"]
pub enum Entered {
    /// There was a place; it is given back when the guard is dropped.
    In(InFlightGuard),
    /// As many as may be are in flight.
    Full {
        /// When the first of their leases ends, if its holder does nothing. A place may be given back before.
        retry_after: Duration,
    },
}

impl Entered {
    /// The guard, if there was a place.
    pub fn guard(self) -> Option<InFlightGuard> {
        match self {
            Self::In(guard) => Some(guard),
            Self::Full { .. } => None,
        }
    }
}

impl InFlight {
    /// Asks for a place.
    ///
    /// # Errors
    /// `InvalidInput` for a subject that is empty or longer than 512 bytes after escaping, `Closed` once the stores are, and the
    /// store's error where it does not answer. After `Unknown` a place that may have been taken is [given back](Self#giving-back) in the
    /// background.
    ///
    /// # Cancel safety
    /// If the future is dropped, a place that it was granted is given back in the background.
    pub async fn enter(&self, subject: impl Identifier) -> Result<Entered> {
        let key = self.addresses.key(&self.namespace, subject)?.subkey("in_flight")?;
        let mut holder = [0; 16];
        self.environment.random.fill(&mut holder)?;
        let place = Place {
            store: Arc::clone(&self.store),
            environment: self.environment.clone(),
            key,
            request: LeaseRequest::new(format!("{:032x}", u128::from_be_bytes(holder)), self.most, self.life),
            unanswered: Arc::clone(&self.unanswered),
        };
        let (word, answer) = oneshot::channel();
        self.environment.tasks.spawn(async move {
            let asked_at = place.environment.clock.now();
            let held_until = asked_at.saturating_add(place.request.life.as_duration());
            let entered = match place.store.lease(&place.key, &place.request).await {
                Ok(LeaseOutcome::Leased { .. }) => {
                    Ok(Entered::In(InFlightGuard { held_until, place: Some(place) }))
                }
                Ok(LeaseOutcome::Full { retry_after }) => Ok(Entered::Full { retry_after }),
                Ok(LeaseOutcome::Lost) => {
                    Err(Error::new(ErrorKind::Internal, "the store says that a new lease is lost"))
                }
                Err(error) => {
                    let doubtful = error.effect() == Effect::Unknown;
                    let _ = word.send(Err(error));
                    if doubtful {
                        place.give_back_doubtful(held_until).await;
                    }
                    return;
                }
            };
            // A guard that nobody waits for any more is dropped here, and gives the place back.
            let _ = word.send(entered);
        })?;
        answer.await.unwrap_or_else(|_| {
            Err(Error::new(ErrorKind::Closed, "the stores were closed").with_operation("limit.lease"))
        })
    }

    /// How many of a subject may be in flight.
    pub const fn most(&self) -> u32 {
        self.most
    }
}

/// A place in flight. It is [given back](InFlight#giving-back) when this is dropped, and ends by itself where that can't be said to
/// the store.
#[must_use = "the place is given back when the guard is dropped: bind it to a name (`let _guard = …`)"]
pub struct InFlightGuard {
    place: Option<Place>,
    held_until: Monotonic,
}

impl InFlightGuard {
    /// Whether the lease is live, by this machine's clock counted from before it was asked for: once it is not, another may
    /// have the place.
    pub fn is_held(&self) -> bool {
        self.place.as_ref().is_some_and(|place| place.environment.clock.now() < self.held_until)
    }

    /// Holds the place for another lease from now; whether it was still held.
    ///
    /// # Errors
    /// The store's, where it does not answer: the lease that was held goes on to its end.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the lease renewed or not; this guard then knows the earlier end.
    pub async fn renew(&mut self) -> Result<bool> {
        let Some(place) = &self.place else { return Ok(false) };
        let until = place.environment.clock.now().saturating_add(place.request.life.as_duration());
        let outcome = place.store.lease(&place.key, &place.request.clone().renewing()).await?;
        let held = matches!(outcome, LeaseOutcome::Leased { .. });
        self.held_until = if held { until } else { Monotonic::default() };
        Ok(held)
    }

    /// Gives the place back, and says whether it was still held. Where the store has done that and its answer was lost, the next
    /// try finds nothing and says no.
    ///
    /// # Errors
    /// The store's, where it does not answer until the lease has ended, where the error is not transient, or where too many
    /// [wait](InFlight#giving-back) to be given back: the place ends with its lease then.
    ///
    /// # Cancel safety
    /// The place is given back all the same if the future is dropped.
    pub async fn give_back(mut self) -> Result<bool> {
        let Some(place) = self.place.take() else { return Ok(false) };
        let (tasks, held_until) = (place.environment.tasks.clone(), self.held_until);
        let giving = tasks.spawn_last(async move { place.give_back(held_until).await })?;
        giving.await.ok().flatten().unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Closed, "the stores were closed").with_operation("limit.give_back"))
        })
    }
}

impl Drop for InFlightGuard {
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            let (tasks, held_until) = (place.environment.tasks.clone(), self.held_until);
            // Without a runtime the lease ends by itself.
            let _ = tasks.spawn_last(async move { place.give_back(held_until).await });
        }
    }
}

impl fmt::Debug for InFlightGuard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.place.as_ref().map(|place| &place.key);
        f.debug_struct("InFlightGuard")
            .field("key", &key)
            .field("held", &self.is_held())
            .finish_non_exhaustive()
    }
}
