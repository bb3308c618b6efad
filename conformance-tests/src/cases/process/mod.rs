//! Several processes on one place. Handles of one process may share a mutex, which other processes know nothing of.

pub(super) mod cache;
pub(super) mod limit;
pub(super) mod lock;
pub(super) mod session;
pub(super) mod token;

/// Two may take turns by chance, where three meet.
const PROCESSES: usize = 3;
