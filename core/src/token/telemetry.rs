//! What the tokens of one service measure.

use super::{Reason, Scope, Verdict};
use crate::error::Result;
use crate::key::Name;
use crate::telemetry::{Counter, token as metric};

#[derive(Debug)]
pub(super) struct Telemetry {
    #[cfg(feature = "jwt")]
    issued: Counter,
    #[cfg(feature = "jwt")]
    verified: Checks,
    #[cfg(feature = "jwt")]
    refreshes: Refreshes,
    checked: Checks,
    revocations: Revocations,
}

/// What came of refresh tokens.
#[cfg(feature = "jwt")]
#[derive(Debug)]
struct Refreshes {
    rotated: Counter,
    repeated: Counter,
    reused: Counter,
    revoked: Counter,
    gone: Counter,
    failed: Counter,
}

#[cfg(feature = "jwt")]
impl Refreshes {
    fn new(service: &Name) -> Self {
        let outcome =
            |outcome: &'static str| Counter::new(&metric::REFRESHES, &[service.into(), outcome.into()]);
        Self {
            rotated: outcome("rotated"),
            repeated: outcome("repeated"),
            reused: outcome("reused"),
            revoked: outcome("revoked"),
            gone: outcome("gone"),
            failed: outcome("failed"),
        }
    }
}

/// What came of checking tokens.
#[derive(Debug)]
struct Checks {
    accepted: Counter,
    revoked_token: Counter,
    revoked_scope: Counter,
    unchecked: Counter,
    #[cfg(feature = "jwt")]
    invalid: Counter,
    #[cfg(feature = "jwt")]
    expired: Counter,
}

impl Checks {
    fn new(service: &Name, operation: &'static str) -> Self {
        let outcome = |outcome: &'static str| {
            Counter::new(&metric::CHECKS, &[service.into(), operation.into(), outcome.into()])
        };
        Self {
            accepted: outcome("accepted"),
            revoked_token: outcome("revoked_token"),
            revoked_scope: outcome("revoked_scope"),
            unchecked: outcome("unchecked"),
            #[cfg(feature = "jwt")]
            invalid: outcome("invalid"),
            #[cfg(feature = "jwt")]
            expired: outcome("expired"),
        }
    }

    fn revoked(&self, reason: &Reason) {
        match reason {
            Reason::Token => self.revoked_token.one(),
            Reason::Scope(_) | Reason::Lost => self.revoked_scope.one(),
        }
    }
}

/// What was revoked.
#[derive(Debug)]
struct Revocations {
    token: Counter,
    service: Counter,
    user: Counter,
    session: Counter,
    client: Counter,
    log_in: Counter,
}

impl Revocations {
    fn of(service: &Name) -> Self {
        let scope = |scope: &'static str| Counter::new(&metric::REVOCATIONS, &[service.into(), scope.into()]);
        Self {
            token: scope("token"),
            service: scope("service"),
            user: scope("user"),
            session: scope("session"),
            client: scope("client"),
            log_in: scope("log_in"),
        }
    }

    /// Everything of a scope was revoked.
    fn scope(&self, scope: &Scope) {
        match scope {
            Scope::Service => self.service.one(),
            Scope::User(_) => self.user.one(),
            Scope::Session(_) => self.session.one(),
            Scope::Client(_) => self.client.one(),
            Scope::LogIn(_) => self.log_in.one(),
        }
    }
}

impl Telemetry {
    pub(super) fn of(service: &Name) -> Self {
        Self {
            #[cfg(feature = "jwt")]
            issued: Counter::new(&metric::ISSUED, &[service.into()]),
            #[cfg(feature = "jwt")]
            verified: Checks::new(service, "verify"),
            #[cfg(feature = "jwt")]
            refreshes: Refreshes::new(service),
            checked: Checks::new(service, "check"),
            revocations: Revocations::of(service),
        }
    }

    #[cfg(feature = "jwt")]
    pub(super) fn issued(&self) {
        self.issued.one();
    }

    #[cfg(feature = "jwt")]
    pub(super) fn verified<T>(&self, verified: &Result<T, super::VerifyError>) {
        use super::VerifyError;
        match verified {
            Ok(_) => self.verified.accepted.one(),
            Err(VerifyError::Invalid(_)) => self.verified.invalid.one(),
            Err(VerifyError::Expired) => self.verified.expired.one(),
            Err(VerifyError::Revoked(reason)) => self.verified.revoked(reason),
            Err(VerifyError::Unchecked(_)) => self.verified.unchecked.one(),
        }
    }

    #[cfg(feature = "jwt")]
    pub(super) fn refreshed(&self, refreshed: &Result<super::Refreshed>) {
        use super::Refreshed;
        match refreshed {
            Ok(Refreshed::Rotated(_)) => self.refreshes.rotated.one(),
            Ok(Refreshed::Repeated(_)) => self.refreshes.repeated.one(),
            Ok(Refreshed::Reused(_)) => self.refreshes.reused.one(),
            Ok(Refreshed::Revoked(_)) => self.refreshes.revoked.one(),
            Ok(Refreshed::Gone) => self.refreshes.gone.one(),
            Err(_) => self.refreshes.failed.one(),
        }
    }

    pub(super) fn checked(&self, verdict: &Result<Verdict>) {
        match verdict {
            Ok(Verdict::Active) => self.checked.accepted.one(),
            Ok(Verdict::Revoked(reason)) => self.checked.revoked(reason),
            Err(_) => self.checked.unchecked.one(),
        }
    }

    pub(super) fn revoked_token(&self) {
        self.revocations.token.one();
    }

    pub(super) fn revoked_scope(&self, scope: &Scope) {
        self.revocations.scope(scope);
    }
}
