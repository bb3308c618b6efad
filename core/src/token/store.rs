//! What a token backend implements.

use std::fmt;

use async_trait::async_trait;

use super::{Epoch, Scope, TokenCapabilities, TokenFacts, Verdict};
use crate::error::Result;
use crate::key::Name;
use crate::time::Ttl;

/// Revoked tokens and the epochs of scopes. Services use [`Tokens`](super::Tokens) instead.
///
/// Every call names the service it acts for: two services never see each other's revocations.
///
/// # Contract
/// - A revocation that was answered `Ok` is seen by every later `check` through any handle, until its TTL.
/// - An epoch never goes back; each `revoke_all` makes it strictly greater, and not less than the store's
///   time in microseconds, so that an evicted or flushed epoch never makes an old token hold again. That holds for
///   revocations by several processes, and where the store's wall clock has gone back.
/// - A later revocation never shortens an earlier one's life.
/// - `jti`s are stored hashed.
/// - A `jti` or scope identifier that is empty or over [`MAX_IDENTIFIER`](crate::key::MAX_IDENTIFIER) bytes, and
///   more than [`max_marks`](TokenCapabilities::max_marks) marks, are `InvalidInput`.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait TokenStore: fmt::Debug + Send + Sync + 'static {
    /// What this backend can take; constant over its life.
    fn capabilities(&self) -> TokenCapabilities;

    /// Revokes one token for this long, which must reach past its expiry.
    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> Result<()>;

    /// Revokes everything issued in the scope so far, for this long, which must reach past the expiry of
    /// every token issued so far. Answers the new epoch.
    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> Result<Epoch>;

    /// The epochs of the scopes, in their order; [`Epoch::NEVER`] where nothing was revoked.
    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>>;

    /// Whether a token still holds. One round trip.
    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict>;
}
