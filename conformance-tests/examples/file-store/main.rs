//! A small backend, and the conformance suite on it: cached values, counters and rate limits, in a file that several
//! processes share.
//!
//! ```text
//! cargo run -p stanchion-conformance --example file-store
//! FILE_STORE_LOCKING=mutex cargo run -p stanchion-conformance --example file-store    # two cases are red
//! ```
//!
//! The backend is `store.rs`, `cache.rs` and `limit.rs`; this is its harness. `mutex.rs` is a mistake that the suite finds. Cases
//! of faults are ignored: the harness offers nothing that a case may break ([`Harness::owned_server`]).

mod cache;
mod limit;
mod mutex;
mod store;

use std::collections::HashMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::cache::CacheParts;
use stanchion::clock::{Clock, ManualClock};
use stanchion::environment::Environment;
use stanchion::stores::Stores;
use stanchion::{Error, ErrorKind, Result};
use stanchion_conformance::{Harness, Offers, Place, Stepped, Time, Unavailable, WallStep};

use self::mutex::Meeting;
use self::store::{FileStore, Locking};

/// What another process of the suite finds in its environment.
const FOLDER: &str = "FILE_STORE_FOLDER";
/// `mutex` for the wrong one.
const LOCKING: &str = "FILE_STORE_LOCKING";

/// A folder for each place, in one of the harness's own.
pub(crate) struct FileHarness {
    folder: PathBuf,
    with_mutex: bool,
    is_child: bool,
    clocks: Mutex<HashMap<Place, ManualClock>>,
}

impl FileHarness {
    pub(crate) fn new(with_mutex: bool) -> Self {
        let folder = std::env::temp_dir().join(format!("file-store-{}", Place::fresh().prefix()));
        Self { folder, with_mutex, is_child: false, clocks: Mutex::default() }
    }

    /// As the environment says: of a child, on its parent's places.
    pub(crate) fn from_env() -> Self {
        let mut harness = Self::new(std::env::var(LOCKING).is_ok_and(|locking| locking == "mutex"));
        if let Some(folder) = std::env::var_os(FOLDER) {
            (harness.folder, harness.is_child) = (folder.into(), true);
        }
        harness
    }

    /// The clock of a place in this process. Those of other processes begin at the same time, and nobody moves them: what
    /// processes race for does not end meanwhile.
    fn clock(&self, place: &Place) -> ManualClock {
        let mut clocks = self.clocks.lock().unwrap_or_else(PoisonError::into_inner);
        clocks.entry(place.clone()).or_default().clone()
    }
}

#[async_trait]
impl Harness for FileHarness {
    fn name(&self) -> &'static str {
        "file-store"
    }

    fn offers(&self) -> Offers {
        let mut offers = Offers::all();
        (offers.session, offers.event, offers.lock, offers.token) = (false, false, false, false);
        offers.cache_parts = CacheParts::none().counters(true);
        offers
    }

    fn time(&self) -> Time {
        Time::Manual
    }

    async fn prepare(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn open(&self, place: &Place) -> Result<Stores> {
        let (folder, clock) = (self.folder.join(place.prefix()), Arc::new(self.clock(place)));
        let locking = match (self.with_mutex, self.is_child) {
            (false, _) => Locking::File,
            (true, false) => Locking::Mutex(Meeting::none()),
            (true, true) => Locking::Mutex(Meeting::join(&folder).map_err(|error| {
                Error::new(ErrorKind::Unavailable, "there is no meeting").with_source(error)
            })?),
        };
        let environment = Environment::system().clock(clock.clone());
        let store = FileStore::open(folder, clock, locking)?;
        Ok(Stores::builder(environment).backend(Arc::new(store)).build())
    }

    async fn advance(&self, place: &Place, by: Duration) {
        self.clock(place).advance(by);
    }

    async fn step_wall_clock(&self, place: &Place, step: WallStep) -> Result<Stepped, Unavailable> {
        let clock = self.clock(place);
        clock.set_wall(step.from(clock.wall()));
        Ok(Stepped::Clock)
    }

    fn child_environment(&self) -> Option<Vec<(String, String)>> {
        let locking = if self.with_mutex { "mutex" } else { "file" };
        let variables = [(FOLDER, self.folder.to_string_lossy().into_owned()), (LOCKING, locking.to_owned())];
        Some(variables.map(|(name, value)| (name.to_owned(), value)).into())
    }
}

impl Drop for FileHarness {
    fn drop(&mut self) {
        if !self.is_child {
            // What can't be removed stays among the temporary files.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

fn main() -> ExitCode {
    stanchion_conformance::main([FileHarness::from_env()])
}
