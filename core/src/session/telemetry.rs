//! What sessions of one service measure.

use crate::error::Result;
use crate::key::Name;
use crate::telemetry::{Counter, session as metric};

/// The counters of one service's sessions.
#[derive(Debug)]
pub(super) struct Telemetry {
    created: Counter,
    rejected: Counter,
    destroyed: Counter,
    destroyed_all: Counter,
    evicted: Counter,
    undone: Counter,
    authenticated: Lookups,
    malformed: Counter,
    loaded: Lookups,
}

/// What came of looking sessions up.
#[derive(Debug)]
struct Lookups {
    found: Counter,
    absent: Counter,
    failed: Counter,
}

impl Lookups {
    fn new(service: &Name, operation: &'static str) -> Self {
        let outcome = |outcome: &'static str| {
            Counter::new(&metric::LOOKUPS, &[service.into(), operation.into(), outcome.into()])
        };
        Self { found: outcome("found"), absent: outcome("absent"), failed: outcome("failed") }
    }

    fn count<T>(&self, session: &Result<Option<T>>) {
        match session {
            Ok(Some(_)) => self.found.one(),
            Ok(None) => self.absent.one(),
            Err(_) => self.failed.one(),
        }
    }
}

impl Telemetry {
    pub(super) fn of(service: &Name) -> Self {
        let ended = |reason: &'static str| Counter::new(&metric::ENDED, &[service.into(), reason.into()]);
        Self {
            created: Counter::new(&metric::CREATED, &[service.into()]),
            rejected: Counter::new(&metric::REJECTED, &[service.into()]),
            destroyed: ended("destroyed"),
            destroyed_all: ended("destroyed_all"),
            evicted: ended("evicted"),
            undone: ended("undone"),
            authenticated: Lookups::new(service, "authenticate"),
            malformed: Counter::new(
                &metric::LOOKUPS,
                &[service.into(), "authenticate".into(), "malformed".into()],
            ),
            loaded: Lookups::new(service, "load"),
        }
    }

    /// A session was opened, and so many others made room.
    pub(super) fn created(&self, evicted: usize) {
        self.created.one();
        add(&self.evicted, evicted);
    }

    /// A session that was just opened was ended again, before anybody had its token.
    pub(super) fn undone(&self) {
        self.undone.one();
    }

    pub(super) fn rejected(&self) {
        self.rejected.one();
    }

    pub(super) fn destroyed(&self) {
        self.destroyed.one();
    }

    pub(super) fn destroyed_all(&self, sessions: usize) {
        add(&self.destroyed_all, sessions);
    }

    pub(super) fn authenticated<T>(&self, session: &Result<Option<T>>) {
        self.authenticated.count(session);
    }

    /// What a client sent is no token.
    pub(super) fn malformed(&self) {
        self.malformed.one();
    }

    pub(super) fn loaded<T>(&self, session: &Result<Option<T>>) {
        self.loaded.count(session);
    }
}

fn add(counter: &Counter, n: usize) {
    // None is no news, and would show a counter that never counted.
    if n > 0 {
        counter.add(u64::try_from(n).unwrap_or(u64::MAX));
    }
}
