//! What a backend author supplies.

use std::time::Duration;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::cache::CacheParts;
use stanchion::key::Name;
use stanchion::random::{Random, SystemRandom};
use stanchion::stores::Stores;

use crate::case::with_sources;
use crate::{Area, Failure, OwnedServer, Stepped, WallStep};

/// Where one case happens. A backend keeps everything of a place under its prefix.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Place(String);

impl Place {
    /// A place that nobody has been to.
    pub fn fresh() -> Self {
        let mut bytes = [0; 8];
        // Without random bytes every place is the same, and the cases that ask for isolation say so.
        let _ = SystemRandom.fill(&mut bytes);
        Self(format!("t{:016x}", u64::from_le_bytes(bytes)))
    }

    /// The place with this prefix, for another process.
    ///
    /// # Errors
    /// `InvalidInput` if the prefix is no [`Name`].
    pub fn named(prefix: &str) -> Result<Self> {
        Ok(Self(Name::new(prefix)?.as_str().to_owned()))
    }

    /// A valid [`Name`] that no other place has.
    pub fn prefix(&self) -> &str {
        &self.0
    }
}

/// How time passes for a harness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Time {
    /// It stands still until the harness advances it: cases use hours.
    Manual,
    /// It passes by itself: cases use fractions of a second.
    Real,
}

/// Which areas a backend offers. For an area that it does not offer, the suite demands
/// [`Unsupported`](stanchion::ErrorKind::Unsupported).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "one fact each")]
#[expect(missing_docs, reason = "the areas of the library")]
pub struct Offers {
    pub cache: bool,
    pub session: bool,
    pub event: bool,
    pub lock: bool,
    pub limit: bool,
    pub token: bool,
    /// Which optional parts the cache has. For one that it does not have, the suite demands what the contract says of it.
    pub cache_parts: CacheParts,
}

impl Offers {
    /// Every area.
    pub const fn all() -> Self {
        Self {
            cache: true,
            session: true,
            event: true,
            lock: true,
            limit: true,
            token: true,
            cache_parts: CacheParts::all(),
        }
    }

    /// Whether this area is offered.
    pub const fn has(&self, area: Area) -> bool {
        match area {
            Area::Cache => self.cache,
            Area::Session => self.session,
            Area::Event => self.event,
            Area::Lock => self.lock,
            Area::Limit => self.limit,
            Area::Token => self.token,
            // The life of the bundle is everybody's, and so is what becomes of a call.
            Area::Stores | Area::Fault => true,
        }
    }
}

/// Why a harness can't run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unavailable {
    /// What is missing, and what to do.
    pub reason: String,
    /// Whether that is a failure: in CI it is, on a laptop the cases are ignored with the reason.
    pub fatal: bool,
}

impl Unavailable {
    /// Something that a harness or its backend doesn't have; the cases that need it are ignored with the reason.
    pub fn lacking(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), fatal: false }
    }

    /// Something that must be there, and failed by this error, which is shown with what caused it.
    pub fn broken(what: &str, error: &dyn std::error::Error) -> Self {
        Self { reason: format!("{what}: {}", with_sources(error)), fatal: true }
    }
}

impl From<Unavailable> for Failure {
    fn from(missing: Unavailable) -> Self {
        if missing.fatal { Self::Broken(missing.reason) } else { Self::Ignored(missing.reason) }
    }
}

/// A backend under test.
#[async_trait]
pub trait Harness: Send + Sync + 'static {
    /// The first part of every case's name: `redis-cluster`.
    fn name(&self) -> &str;

    /// Which areas the backend offers.
    fn offers(&self) -> Offers;

    /// How time passes.
    fn time(&self) -> Time;

    /// Makes ready, once, before the first case that runs: starts a server, say.
    async fn prepare(&self) -> Result<(), Unavailable>;

    /// A handle on a place. The same place again is another process on the same data.
    async fn open(&self, place: &Place) -> Result<Stores>;

    /// Lets time pass in a place.
    async fn advance(&self, place: &Place, by: Duration);

    /// Sets the wall clock of a place's store: the time by which the store makes fences, generations and epochs, and may
    /// judge lives. Time itself passes as before. Where the clock can't be set, a harness may move all that is stored by as
    /// much in the other direction, deadlines included. Without either, the default, the cases that ask for it are ignored
    /// with the reason.
    async fn step_wall_clock(&self, _place: &Place, _step: WallStep) -> Result<Stepped, Unavailable> {
        Err(Unavailable::lacking("the harness can't set the wall clock of the store"))
    }

    /// What another process must find in its environment to open the same places with the harness of this
    /// name: the address of the server, say. `None`, the default, if no other process can: what is in memory
    /// is in one process. Cases with several processes are ignored then, with this reason.
    fn child_environment(&self) -> Option<Vec<(String, String)>> {
        None
    }

    /// A server for one case alone, which breaks it. Without one, the default, cases of the area `fault` are
    /// ignored with the reason.
    async fn owned_server(&self) -> Result<Box<dyn OwnedServer>, Unavailable> {
        Err(Unavailable::lacking("the harness has no server that a case may break"))
    }
}
