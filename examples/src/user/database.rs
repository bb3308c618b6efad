//! The users themselves. A service of yours has a database here; this one counts how often it is read.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::profile::{Details, Profile};

#[derive(Default)]
pub(super) struct Database {
    rows: Mutex<BTreeMap<String, Details>>,
    reads: AtomicU64,
}

impl Database {
    fn rows(&self) -> MutexGuard<'_, BTreeMap<String, Details>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `false` if there is a user of this id already; it stays as it is.
    pub(super) fn insert(&self, profile: Profile) -> bool {
        match self.rows().entry(profile.id) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(profile.details);
                true
            }
        }
    }

    /// Changes a user; answers what was there before, or `None` if there is no such user.
    pub(super) fn update(&self, id: &str, details: Details) -> Option<Details> {
        self.rows().get_mut(id).map(|row| std::mem::replace(row, details))
    }

    pub(super) fn find(&self, id: &str) -> Option<Profile> {
        self.reads.fetch_add(1, Relaxed);
        self.rows().get(id).map(|details| Profile { id: id.to_owned(), details: details.clone() })
    }

    pub(super) fn all(&self) -> Vec<Profile> {
        self.reads.fetch_add(1, Relaxed);
        let rows = self.rows();
        rows.iter().map(|(id, details)| Profile { id: id.clone(), details: details.clone() }).collect()
    }

    pub(super) fn reads(&self) -> u64 {
        self.reads.load(Relaxed)
    }
}
