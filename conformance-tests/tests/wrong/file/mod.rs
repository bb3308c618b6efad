//! A store in a file, which other processes can open: as much of each store as races between processes ask for.
//!
//! Each change reads the file, and writes it anew. Right, it holds the file's lock from the one to the other; wrong, in
//! one of its changes, it holds a mutex: other tasks and handles of its process stay out, and other processes do not.

mod cache;
mod limit;
mod lock;
mod race;
mod session;
mod state;
mod token;

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use libtest_mimic::Failed;
use stanchion::Result;
use stanchion::cache::CacheParts;
use stanchion::environment::Environment;
use stanchion::stores::Stores;
use stanchion_conformance::{Harness, Offers, Place, Time, Unavailable, cases, run_case};
use stanchion_memory::MemoryBackend;

use self::state::{Change, Files};
use crate::backend;
use crate::proof::{Proof, must_fail};
use crate::stores::Life;

/// What is changed behind a mutex in place of the file's lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    Additions,
    Leases,
    Locks,
    Limits,
    Sessions,
    Epochs,
    Revocations,
    Claims,
    Rotations,
}

impl Bug {
    const ALL: [Self; 9] = [
        Self::Additions,
        Self::Leases,
        Self::Locks,
        Self::Limits,
        Self::Sessions,
        Self::Epochs,
        Self::Revocations,
        Self::Claims,
        Self::Rotations,
    ];

    /// The change that is wrong.
    const fn change(self) -> Change {
        match self {
            Self::Additions => Change::Addition,
            Self::Leases => Change::Lease,
            Self::Locks => Change::Lock,
            Self::Limits => Change::Limit,
            Self::Sessions => Change::Session,
            Self::Epochs => Change::Epoch,
            Self::Revocations => Change::Revocation,
            Self::Claims => Change::Claim,
            Self::Rotations => Change::Rotation,
        }
    }
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::File(bug), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof(
        "CACHE-64",
        Bug::Additions,
        "process::no_addition_is_lost",
        "different sums of all additions of all processes: \"300\"",
    ),
    proof(
        "CACHE-65",
        Bug::Leases,
        "process::one_lease_holder",
        "processes that were granted the lease on a0: 1\nobserved: ",
    ),
    proof(
        "LOCK-17",
        Bug::Locks,
        "process::one_holder",
        "processes that hold the lock at the same time: 1\nobserved: ",
    ),
    proof(
        "LIMIT-15",
        Bug::Limits,
        "process::one_burst_for_all",
        "given to all processes together: 50\nobserved: ",
    ),
    proof(
        "SESSION-23",
        Bug::Sessions,
        "process::limit_is_kept",
        "created by all processes, reject: 5\nobserved: ",
    ),
    proof("TOKEN-14", Bug::Epochs, "process::epochs_only_grow", "the greatest epoch, for every process"),
    proof(
        "TOKEN-15",
        Bug::Revocations,
        "process::seen_by_all",
        "revoked tokens of all processes, as each process sees them: [60, 60, 60]",
    ),
    proof(
        "TOKEN-34",
        Bug::Claims,
        "process::one_is_the_first",
        "first claims of each name, by all processes",
    ),
    proof(
        "TOKEN-49",
        Bug::Rotations,
        "process::one_rotates",
        "rotations of each token that won, by all processes",
    ),
];

/// What a child finds in its environment: the bug, and the folder.
const VARIABLES: [&str; 2] = ["STANCHION_WRONG_FILE_BUG", "STANCHION_WRONG_FILE_FOLDER"];

/// A folder for each place, in one of its own.
pub(crate) struct FileStore {
    bug: Option<Bug>,
    folder: PathBuf,
    is_child: bool,
}

impl FileStore {
    pub(crate) fn new(bug: Option<Bug>) -> Self {
        let folder = std::env::temp_dir().join(format!("stanchion-file-{}", Place::fresh().prefix()));
        Self { bug, folder, is_child: false }
    }

    /// That of the parent, in a child of this harness.
    pub(crate) fn of_the_environment() -> Option<Self> {
        let [bug, folder] = VARIABLES.map(std::env::var);
        let (name, folder) = (bug.ok()?, folder.ok()?.into());
        let bug = Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name);
        Some(Self { bug, folder, is_child: true })
    }
}

impl Drop for FileStore {
    fn drop(&mut self) {
        if !self.is_child {
            // Nothing is left to tell it to.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

#[async_trait]
impl Harness for FileStore {
    fn name(&self) -> &'static str {
        "file"
    }

    fn offers(&self) -> Offers {
        let mut offers = Offers::all();
        offers.event = false;
        offers.cache_parts = CacheParts::none().leases(true).counters(true);
        offers
    }

    fn time(&self) -> Time {
        Time::Real
    }

    async fn prepare(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn open(&self, place: &Place) -> Result<Stores> {
        let folder = self.folder.join(place.prefix());
        let files = Arc::new(Files::open(folder, self.bug.map(Bug::change), self.is_child)?);
        let life = Life::of(&MemoryBackend::new().stores());
        Ok(Stores::builder(Environment::system())
            .life_of(Arc::new(life))
            .cache(Arc::clone(&files) as Arc<_>)
            .sessions(Arc::clone(&files) as Arc<_>)
            .locks(Arc::clone(&files) as Arc<_>)
            .limits(Arc::clone(&files) as Arc<_>)
            .tokens(files)
            .build())
    }

    #[expect(clippy::disallowed_methods, reason = "processes share the machine's time, which really passes")]
    async fn advance(&self, _place: &Place, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn child_environment(&self) -> Option<Vec<(String, String)>> {
        let bug = self.bug.map(|bug| format!("{bug:?}")).unwrap_or_default();
        let values = [bug, self.folder.to_string_lossy().into_owned()];
        Some(VARIABLES.map(ToOwned::to_owned).into_iter().zip(values).collect())
    }
}

/// Right, the store passes every case with processes; what the wrong ones break is their mutex's fault.
pub(crate) async fn the_right_one_passes() -> Result<(), Failed> {
    let rules = cases::ALL.iter().flat_map(|(_, rules)| *rules);
    let mut passed = 0;
    for case in rules.flat_map(|rule| rule.cases).filter(|case| case.name.starts_with("process::")) {
        let outcome = run_case(Arc::new(FileStore::new(None)), case).await;
        outcome.map_err(|failure| format!("{}:\n{failure}", case.name))?;
        passed += 1;
    }
    if passed < PROOFS.len() { Err("there are fewer such cases than proofs".into()) } else { Ok(()) }
}
