//! What is said once of a backend, however often it is found.

use std::sync::atomic::{AtomicBool, Ordering};

#[derive(Debug, Default)]
pub(super) struct LoggedOnce {
    server_unknown: AtomicBool,
    role_unknown: AtomicBool,
}

impl LoggedOnce {
    /// Whether it is the first time that a server does not say which one it is.
    pub(super) fn server_unknown(&self) -> bool {
        is_first(&self.server_unknown)
    }

    /// Whether it is the first time that a server does not say its role.
    pub(super) fn role_unknown(&self) -> bool {
        is_first(&self.role_unknown)
    }
}

fn is_first(logged: &AtomicBool) -> bool {
    !logged.swap(true, Ordering::Relaxed)
}
