//! The file, and how it is changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use serde::{Deserialize, Serialize};
use stanchion::clock::{Clock, SystemClock};
use stanchion::{Error, ErrorKind, Result};

use super::race::Race;
use crate::backend::locked;

/// All that is stored. Times are in µs of the machine's wall clock.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct State {
    pub(super) values: BTreeMap<String, String>,
    pub(super) leases: BTreeMap<String, Lease>,
    pub(super) locks: BTreeMap<String, Lease>,
    pub(super) fences: BTreeMap<String, u64>,
    /// By subject and tier.
    pub(super) limits: BTreeMap<String, BTreeMap<String, String>>,
    /// By service and user, the oldest first.
    pub(super) sessions: BTreeMap<String, Vec<String>>,
    pub(super) epochs: BTreeMap<String, u64>,
    pub(super) revoked: BTreeSet<String>,
    /// By service.
    pub(super) token_settings: BTreeMap<String, Settings>,
    pub(super) used: BTreeSet<String>,
    /// By service and name.
    pub(super) families: BTreeMap<String, Family>,
}

/// Longest life in ms, issuer, and longest life of refresh tokens in ms.
pub(super) type Settings = (Option<u64>, Option<String>, Option<u64>);

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Family {
    pub(super) current: String,
    pub(super) last: Option<String>,
    pub(super) salt: String,
    pub(super) data: Vec<u8>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Lease {
    pub(super) token: String,
    pub(super) until: u64,
}

/// What is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Addition,
    Lease,
    Lock,
    Limit,
    Session,
    Epoch,
    Revocation,
    Claim,
    Rotation,
}

/// A place's folder.
#[derive(Debug, Clone)]
pub(super) struct Files {
    folder: PathBuf,
    wrong: Option<Change>,
    race: Option<Arc<Race>>,
}

/// One at a time, in this process.
static ALONE: Mutex<()> = Mutex::new(());

impl Files {
    /// A parent is the referee of the race between its children, and not among them.
    pub(super) fn open(folder: PathBuf, wrong: Option<Change>, is_child: bool) -> Result<Self> {
        fs::create_dir_all(&folder).map_err(failed)?;
        let race = is_child.then(|| Race::join(folder.clone())).transpose().map_err(failed)?.map(Arc::new);
        Ok(Self { folder, wrong, race })
    }

    fn read(&self) -> Result<State> {
        match fs::read(self.folder.join("state")) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| failed(error.into())),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(State::default()),
            Err(error) => Err(failed(error)),
        }
    }

    /// In one step, so that nobody reads half of it.
    fn write(&self, state: &State) -> Result<()> {
        let new = self.folder.join(format!("state-{}", std::process::id()));
        let bytes = serde_json::to_vec(state).map_err(|error| failed(error.into()))?;
        fs::write(&new, bytes).and_then(|()| fs::rename(&new, self.folder.join("state"))).map_err(failed)
    }

    /// Reads what is stored.
    pub(super) fn look<T>(&self, look: impl FnOnce(&State) -> T) -> Result<T> {
        self.read().map(|state| look(&state))
    }

    /// Changes what is stored, in one step; or so it is meant.
    pub(super) fn change<T>(&self, change: Change, make: impl FnOnce(&mut State) -> Result<T>) -> Result<T> {
        if self.wrong == Some(change) {
            let _alone = locked(&ALONE);
            let part = self.race.as_deref().map(Race::begin).transpose().map_err(failed)?;
            let mut state = self.read()?;
            let made = make(&mut state)?;
            if let Some(part) = &part {
                part.has_read().map_err(failed)?;
            }
            self.write(&state)?;
            if let Some(part) = &part {
                part.has_written().map_err(failed)?;
            }
            return Ok(made);
        }
        let lock = File::create(self.folder.join("lock")).map_err(failed)?;
        // Until it is dropped.
        lock.lock().map_err(failed)?;
        let mut state = self.read()?;
        let made = make(&mut state)?;
        self.write(&state)?;
        Ok(made)
    }
}

pub(super) fn failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the file can't be used").with_source(error)
}

/// What no race between processes asks for.
pub(super) fn not_here<T>() -> Result<T> {
    Err(Error::unsupported("this store has what races between processes ask for"))
}

pub(super) fn now() -> u64 {
    SystemClock.wall().as_micros()
}
