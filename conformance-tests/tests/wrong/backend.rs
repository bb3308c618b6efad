//! A memory backend that gets one thing wrong.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::cache::CacheParts;
use stanchion::clock::{Clock, ManualClock};
use stanchion::environment::Environment;
use stanchion::key::Key;
use stanchion::lock::Lease;
use stanchion::stores::Stores;
use stanchion::time::Timestamp;
use stanchion_conformance::{Harness, Offers, Place, Stepped, Time, Unavailable, WallStep};
use stanchion_memory::{MemoryBackend, MemoryConfig};

use crate::{cache, clock, event, fault, file, limit, lock, session, session_outbox, stores, token};

/// The one thing that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Nothing: the reference.
    None,
    /// Every place keeps its things under the same names: the prefix is forgotten.
    PrefixForgotten,
    /// A lease is ended by the process that took it; see [`lock_file`](crate::lock_file).
    LeaseEndsWithTheProcess,
    Cache(cache::Bug),
    /// What the store takes for the time that passes.
    Clock(clock::Bug),
    Event(event::Bug),
    /// Of a harness of its own; see [`fault`](crate::fault).
    Fault(fault::Bug),
    /// Of a harness of its own, which other processes can open; see [`file`](crate::file).
    File(file::Bug),
    Limit(limit::Bug),
    MoreLimits(limit::more::Bug),
    Lock(lock::Bug),
    Session(session::Bug),
    SessionOutbox(session_outbox::Bug),
    Stores(stores::Bug),
    Token(token::Bug),
}

/// What a decorator may want besides the store that it wraps.
#[derive(Debug, Clone)]
pub(crate) struct Around {
    /// All stores of the same handle, right ones.
    pub(crate) right: Stores,
    /// That handle.
    pub(crate) backend: MemoryBackend,
    /// The number of the handle at its place: the first that is opened is 0.
    pub(crate) number: usize,
    /// The stores of the place's first handle; the same as `right` for that one.
    pub(crate) first: Stores,
    /// Another handle on the same data, which nobody closes.
    pub(crate) other: MemoryBackend,
    /// The last lease on each lock of the place.
    pub(crate) leases: Arc<Mutex<HashMap<Key, Lease>>>,
    /// Who has asked for the lease on each cache entry of the place, and for how long.
    pub(crate) loads: cache::lease::Loads,
    /// Who is told of changes in the place.
    pub(crate) feed: Arc<cache::feed::Place>,
}

impl Around {
    /// A backend of this process alone, on the same clock.
    pub(crate) fn private(&self) -> Stores {
        MemoryBackend::with(MemoryConfig::new().environment(self.right.environment().clone())).stores()
    }
}

/// A fence, a generation or an epoch that is ahead of the clock is taken for spoilt, and made of the time.
pub(crate) fn spoilt_if_ahead(number: u64, now: Timestamp) -> u64 {
    // Those of one microsecond are a little ahead.
    const LITTLE: u64 = 1_000_000;
    if number > now.as_micros() + LITTLE { now.as_micros() } else { number }
}

/// A harness of backends with this bug.
pub(crate) struct Wrong {
    bug: Bug,
    /// The optional parts of the cache: those that are there, and those that are said to be.
    parts: [CacheParts; 2],
    places: Mutex<HashMap<Place, Opened>>,
}

struct Opened {
    backend: MemoryBackend,
    clock: ManualClock,
    times: usize,
    first: Option<Stores>,
    leases: Arc<Mutex<HashMap<Key, Lease>>>,
    loads: cache::lease::Loads,
    feed: Arc<cache::feed::Place>,
}

impl Wrong {
    pub(crate) fn new(bug: Bug) -> Self {
        Self { bug, parts: [CacheParts::all(); 2], places: Mutex::default() }
    }

    /// The reference, with these parts of the cache, and said to have those.
    pub(crate) fn with_parts(has: CacheParts, offers: CacheParts) -> Self {
        Self { parts: [has, offers], ..Self::new(Bug::None) }
    }
}

#[async_trait]
impl Harness for Wrong {
    fn name(&self) -> &'static str {
        "wrong"
    }

    fn offers(&self) -> Offers {
        let mut offers = Offers::all();
        [_, offers.cache_parts] = self.parts;
        offers
    }

    fn time(&self) -> Time {
        Time::Manual
    }

    async fn prepare(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn open(&self, place: &Place) -> Result<Stores> {
        let mut places = locked(&self.places);
        let known = places.values().next().map(|opened| (opened.backend.clone(), opened.clock.clone()));
        let opened = places.entry(place.clone()).or_insert_with(|| {
            let (backend, clock) = match known {
                Some(first) if self.bug == Bug::PrefixForgotten => first,
                _ => {
                    let clock = ManualClock::new();
                    let mut environment = Environment::system().clock(Arc::new(clock.clone()));
                    if let Bug::Clock(bug) = self.bug {
                        environment = environment.clock(Arc::new(clock::Skewed::new(bug, clock.clone())));
                    }
                    let config = MemoryConfig::new().environment(environment).cache_parts(self.parts[0]);
                    (MemoryBackend::with(config), clock)
                }
            };
            Opened {
                backend,
                clock,
                times: 0,
                first: None,
                leases: Arc::default(),
                loads: Arc::default(),
                feed: Arc::default(),
            }
        });
        let backend = match self.bug {
            Bug::Stores(stores::Bug::OneHandleForAll) => opened.backend.clone(),
            _ => opened.backend.handle(),
        };
        let right = backend.stores();
        let first = opened.first.get_or_insert_with(|| right.clone()).clone();
        let around = Around {
            right,
            backend,
            first,
            number: opened.times,
            other: opened.backend.handle(),
            leases: Arc::clone(&opened.leases),
            loads: Arc::clone(&opened.loads),
            feed: Arc::clone(&opened.feed),
        };
        opened.times += 1;
        spoil(self.bug, &around)
    }

    async fn advance(&self, place: &Place, by: Duration) {
        if let Some(opened) = locked(&self.places).get(place) {
            opened.clock.advance(by);
        }
    }

    async fn step_wall_clock(&self, place: &Place, step: WallStep) -> Result<Stepped, Unavailable> {
        if let Some(opened) = locked(&self.places).get(place) {
            opened.clock.set_wall(step.from(opened.clock.wall()));
        }
        Ok(Stepped::Clock)
    }
}

/// The right bundle with one store, or its life, behind a decorator.
fn spoil(bug: Bug, around: &Around) -> Result<Stores> {
    let right = &around.right;
    let mut life = stores::Life::new(None, around);
    let mut cache = right.cache_store()?;
    let mut sessions = right.session_store()?;
    let mut events = right.event_bus()?;
    let mut locks = right.locker()?;
    let mut limits = right.rate_limiter()?;
    let mut tokens = right.token_store()?;
    match bug {
        Bug::None
        | Bug::PrefixForgotten
        | Bug::LeaseEndsWithTheProcess
        | Bug::Clock(_)
        | Bug::Fault(_)
        | Bug::File(_) => {}
        Bug::Cache(bug) => cache = cache::spoil(bug, cache, around),
        Bug::Event(bug) => events = Arc::new(event::Wrong::new(bug, events, around)),
        Bug::MoreLimits(bug) => limits = Arc::new(limit::more::Wrong::new(bug, limits)),
        Bug::Limit(bug) => limits = Arc::new(limit::Wrong::new(bug, limits, around)?),
        Bug::Lock(bug) => locks = Arc::new(lock::Wrong::new(bug, locks, around)),
        Bug::Session(bug) => sessions = Arc::new(session::Wrong::new(bug, sessions, around)),
        Bug::SessionOutbox(bug) => sessions = Arc::new(session_outbox::Wrong::new(bug, sessions, around)?),
        // One of the stores is another handle's, which stays open.
        Bug::Stores(stores::Bug::OneStoreStaysOpen) => limits = around.other.stores().rate_limiter()?,
        Bug::Stores(bug) => life = stores::Life::new(Some(bug), around),
        Bug::Token(bug) => tokens = Arc::new(token::Wrong::new(bug, tokens, around)?),
    }
    Ok(Stores::builder(right.environment().clone())
        .life_of(Arc::new(life))
        .cache(cache)
        .sessions(sessions)
        .events(events)
        .locks(locks)
        .limits(limits)
        .tokens(tokens)
        .build())
}

/// What a decorator remembers; no test goes on after a panic in one.
pub(crate) fn locked<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
