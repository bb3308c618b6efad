//! Loaders that are not run for a while after they failed.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::key::Key;
use crate::time::Monotonic;

/// Beyond this many keys it begins anew.
const MOST: usize = 10_000;

/// Keys whose loader has failed a short while ago, with a stale value at hand.
#[derive(Debug, Default)]
pub(super) struct LoaderBackoff(Mutex<HashMap<Key, Monotonic>>);

impl LoaderBackoff {
    fn ends(&self) -> MutexGuard<'_, HashMap<Key, Monotonic>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The loader of this key is not run until then.
    pub(super) fn begin(&self, key: &Key, end: Monotonic, now: Monotonic) {
        let mut ends = self.ends();
        if ends.len() >= MOST {
            ends.retain(|_, end| *end > now);
            if ends.len() >= MOST {
                ends.clear();
            }
        }
        ends.insert(key.clone(), end);
    }

    pub(super) fn is_active(&self, key: &Key, now: Monotonic) -> bool {
        let mut ends = self.ends();
        match ends.get(key) {
            Some(end) if *end > now => true,
            Some(_) => {
                ends.remove(key);
                false
            }
            None => false,
        }
    }

    /// The loader of this key has succeeded.
    pub(super) fn end(&self, key: &Key) {
        self.ends().remove(key);
    }
}
