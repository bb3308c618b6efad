//! Who may log in. A service of yours has a database here.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

/// Logins and the hashes of their passwords.
#[derive(Default)]
pub(super) struct Accounts(Mutex<HashMap<String, String>>);

impl Accounts {
    /// `false` if there is an account of this login already; it stays as it is.
    pub(super) fn insert(&self, login: String, password_hash: String) -> bool {
        match self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(login) {
            Entry::Occupied(_) => false,
            Entry::Vacant(place) => {
                place.insert(password_hash);
                true
            }
        }
    }

    pub(super) fn password_hash(&self, login: &str) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(login).cloned()
    }
}
