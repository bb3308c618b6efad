//! Whether all who share a service's tokens have the same settings.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use super::{Scope, TokenSettings, Tokens};
use crate::error::{Error, ErrorKind, Result};
use crate::time::{Monotonic, Ttl, seconds};

/// What is known of the settings that are recorded.
#[derive(Debug, Default)]
pub(super) struct Agreement {
    /// The recorded longest life, once there is one and the settings were compared with the record. It is never changed but as
    /// [`max_life_was`](super::TokensBuilder::max_life_was) says.
    life: OnceLock<Ttl>,
    /// Whether what is issued here is recorded, too.
    #[cfg(feature = "jwt")]
    issues: OnceLock<()>,
    /// The recorded longest life of refresh tokens, as it was last seen: it only grows.
    families: Mutex<Option<Ttl>>,
    /// When it was last seen that no life is recorded.
    none_at: Mutex<Option<Monotonic>>,
}

impl Agreement {
    /// The recorded longest life, as far as it is known.
    pub(super) fn life(&self) -> Option<Ttl> {
        self.life.get().copied()
    }

    /// The recorded longest life of refresh tokens, as far as it is known.
    pub(super) fn family_life(&self) -> Option<Ttl> {
        *self.families()
    }

    fn families(&self) -> std::sync::MutexGuard<'_, Option<Ttl>> {
        self.families.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn none_at(&self) -> std::sync::MutexGuard<'_, Option<Monotonic>> {
        self.none_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tokens {
    /// How long a check goes by it that no longest life is recorded.
    const NONE_FOR: Duration = seconds(10);

    /// Compares longest life and issuer with what is recorded of the service's tokens, or records them where nothing is. Every
    /// other call does it first, once for each `Tokens`: nothing is issued, revoked or checked by settings that differ. Call
    /// it when the service starts, to find out then.
    ///
    /// # Errors
    /// `Config` if they differ, with both values; and those of [every method](Tokens#errors).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the settings recorded or not; call again.
    pub async fn agree(&self) -> Result<()> {
        if self.0.agreement.life().is_some() {
            return Ok(());
        }
        self.compare(self.0.set.clone()).await
    }

    /// The same once something of the scope was revoked. Where refresh tokens may be of it, the record is read again: somebody may
    /// have come whose live longer.
    pub(super) async fn agree_again(&self, scope: &Scope) -> Result<()> {
        if Self::may_have_families(scope) {
            self.compare(self.0.set.clone()).await
        } else {
            self.agree().await
        }
    }

    /// The same before a token is checked: while no longest life is recorded, nobody issues, and nothing hurries.
    pub(super) async fn agree_to_check(&self) -> Result<()> {
        let (agreement, clock) = (&self.0.agreement, &self.0.environment.clock);
        let seen = *agreement.none_at();
        if seen.is_some_and(|at| clock.now().saturating_since(at) < Self::NONE_FOR) {
            return Ok(());
        }
        self.agree().await
    }

    /// The same before something is issued: the longest life and the issuer are recorded then, set or not.
    #[cfg(feature = "jwt")]
    pub(super) async fn agree_to_issue(&self) -> Result<()> {
        let inner = &*self.0;
        if inner.agreement.issues.get().is_none() {
            let mut ours = inner.set.clone();
            ours.max_life = ours.max_life.or(Some(Self::default_life()?));
            ours.issuer = ours.issuer.or_else(|| Some(inner.jwt.issuer().to_owned()));
            self.compare(ours).await?;
            inner.agreement.issues.get_or_init(|| ());
        }
        Ok(())
    }

    async fn compare(&self, ours: TokenSettings) -> Result<()> {
        let inner = &*self.0;
        let recorded = inner.store.agree(&inner.service, &ours, inner.max_life_was).await?;
        self.check_against(&recorded)?;
        let mut families = inner.agreement.families();
        *families = (*families).max(recorded.family_life);
        drop(families);
        match recorded.max_life {
            Some(life) => _ = inner.agreement.life.get_or_init(|| life),
            None => *inner.agreement.none_at() = Some(inner.environment.clock.now()),
        }
        Ok(())
    }

    /// What is set here must be what is recorded, and what is expected by who has keys, too.
    fn check_against(&self, recorded: &TokenSettings) -> Result<()> {
        let inner = &*self.0;
        let differs = |what: &str, theirs: String, ours: String| {
            let message = format!(
                "the tokens of {} are recorded with {what} {theirs}, and are set to {ours} here: revocations or issuers would not \
                 agree",
                inner.service
            );
            Err(Error::new(ErrorKind::Config, message).with_operation("token.agree"))
        };
        if let (Some(theirs), Some(ours)) = (recorded.max_life, inner.set.max_life)
            && theirs != ours
        {
            let text = |life: Ttl| format!("{:?}", life.as_duration());
            return differs("a longest life of", text(theirs), text(ours));
        }
        let expected = inner.set.issuer.as_deref();
        #[cfg(feature = "jwt")]
        let expected = expected.or_else(|| inner.jwt.has_keys().then(|| inner.jwt.issuer()));
        match (recorded.issuer.as_deref(), expected) {
            (Some(theirs), Some(ours)) if theirs != ours => {
                differs("the issuer", format!("{theirs:?}"), format!("{ours:?}"))
            }
            _ => Ok(()),
        }
    }
}
