//! The one atomic first use.

use super::Tokens;
use crate::error::{Error, Result};
use crate::time::{Timestamp, Ttl};

impl Tokens {
    /// Uses something up: `true` for the first claim of this name in the service, `false` for every later one. For whatever must
    /// work once: the `jti` of a link in a mail, of a DPoP proof, of a code.
    ///
    /// The claim lasts until the thing has expired by every clock within [`skew`](super::TokensBuilder::skew). For one that has
    /// expired already the answer is `false`, and nothing is written; so verify it first, and nothing is written for strangers.
    ///
    /// # Errors
    /// Those of [every method](Tokens#errors); `Unsupported` if the store has no [first uses](super::FirstUses). **An error is no
    /// first use**: after one with the effect `Unknown` it may be used up, and a second claim then says `false`.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the name either claimed or not, and nobody knows which.
    pub async fn claim(&self, name: &str, expires_at: Timestamp) -> Result<bool> {
        let inner = &*self.0;
        let uses = inner.store.first_uses().ok_or_else(|| {
            Error::unsupported("this store has no first uses").with_operation("token.claim")
        })?;
        let now = inner.environment.clock.wall();
        // It is accepted for the skew after its expiry, by a clock that is behind by another.
        if expires_at.saturating_add(inner.skew) <= now {
            return Ok(false);
        }
        match Ttl::until(expires_at.saturating_add(2 * inner.skew), now) {
            Some(ttl) => uses.claim(&inner.service, name, ttl).await,
            None => Ok(false),
        }
    }
}
