//! How long tokens live, and for how long their revocations are kept.

use std::time::Duration;

use super::attempt::LogInAttempt;
use super::{Scope, Tokens};
use crate::error::Result;
use crate::session::SessionId;
use crate::time::{Timestamp, Ttl, hours};

impl Tokens {
    /// The longest life where nobody says another.
    const DEFAULT_LIFE: Duration = hours(1);

    #[cfg(feature = "jwt")]
    pub(super) fn default_life() -> Result<Ttl> {
        Ttl::new(Self::DEFAULT_LIFE)
    }

    /// The longest life: what is set here, which is what is recorded; or what is recorded, as far as that is known.
    fn longest(&self) -> Duration {
        let life = self.0.set.max_life.or(self.0.agreement.life());
        life.map_or(Self::DEFAULT_LIFE, Ttl::as_duration)
    }

    /// The longest life of a token that is issued.
    #[cfg(feature = "jwt")]
    pub(super) fn longest_issued(&self) -> Duration {
        let (longest, was) = (self.longest(), self.0.max_life_was.map(Ttl::as_duration));
        was.map_or(longest, |was| was.min(longest))
    }

    /// The longest life of a token that is accepted.
    pub(super) fn longest_accepted(&self) -> Duration {
        let (longest, was) = (self.longest(), self.0.max_life_was.map(Ttl::as_duration));
        was.map_or(longest, |was| was.max(longest))
    }

    /// For how long the revocation of a scope is kept. The last token of it was issued now at the latest, by a clock that may be
    /// ahead by the skew, and is accepted for the skew after its expiry: that is the skew twice. And for as long as a
    /// log-in that has begun may take, which must find that something was revoked; and for as long as refresh tokens live.
    pub(super) fn kept(&self, scope: &Scope) -> Result<Ttl> {
        let mut longest = self.longest_accepted().max(LogInAttempt::LIFE);
        if Self::may_have_families(scope)
            && let Some(families) = self.0.set.family_life.max(self.0.agreement.family_life())
        {
            longest = longest.max(families.as_duration());
        }
        Ttl::new(longest.saturating_add(2 * Self::MAX_SKEW))
    }

    /// Whether refresh tokens may outlive what is issued with them in this scope: those of a session are given for nothing once
    /// the session is not there, whatever is known of its tokens.
    pub(super) fn may_have_families(scope: &Scope) -> bool {
        match scope {
            Scope::Service | Scope::User(_) | Scope::Client(_) => true,
            Scope::Session(id) => id.parse::<SessionId>().is_err(),
            Scope::LogIn(_) => false,
        }
    }

    /// For how long after a revocation some token of it could be accepted, if it were not revoked.
    pub(crate) fn revocations_kept_for(&self) -> Duration {
        self.longest_accepted().saturating_add(2 * Self::MAX_SKEW)
    }

    /// For how long the revocation of one token is kept: until it is accepted by no clock. The clock here may be ahead by the
    /// skew, and it is accepted for the skew after its expiry. `None` if that time is over.
    pub(super) fn kept_until_after(&self, expires_at: Timestamp) -> Option<Ttl> {
        let now = self.0.environment.clock.wall();
        Ttl::until(expires_at.saturating_add(2 * Self::MAX_SKEW), now)
    }

    /// Whether a token is to be refused because it lives, or will live from now on, for longer than its revocations are kept. By
    /// what is recorded now, where that was not known.
    #[cfg(feature = "jwt")]
    pub(super) async fn refuses_life(&self, issued_at: Timestamp, expires_at: Timestamp) -> Result<bool> {
        if self.lives_too_long(issued_at, expires_at) && self.0.agreement.life().is_none() {
            self.agree().await?;
        }
        Ok(self.lives_too_long(issued_at, expires_at))
    }

    #[cfg(feature = "jwt")]
    fn lives_too_long(&self, issued_at: Timestamp, expires_at: Timestamp) -> bool {
        let (now, longest) = (self.0.environment.clock.wall(), self.longest_accepted());
        expires_at > issued_at.saturating_add(longest)
            || expires_at > now.saturating_add(longest).saturating_add(self.0.skew)
    }
}
