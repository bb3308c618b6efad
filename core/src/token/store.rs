//! What a token backend implements.

use std::fmt;

use async_trait::async_trait;

use super::{
    Epoch, FirstUses, RefreshFamilies, Scope, TokenCapabilities, TokenFacts, TokenSettings, Verdict,
};
use crate::changes::ChangeFeed;
use crate::error::Result;
use crate::key::Name;
use crate::time::Ttl;

/// Revoked tokens and the epochs of scopes. Services use [`Tokens`](super::Tokens) instead.
///
/// Every call names the service it acts for: two services never see each other's revocations.
///
/// # Contract
/// - A revocation that was answered `Ok` is seen by every later `check` through any handle, until its TTL, for as long as the
///   store keeps what it was given. What it loses (a flush, an eviction, a failover to a replica that lagged) is not
///   revoked any more, and nobody can tell by the scope alone: an epoch that is missing says that there never was one. A
///   [`floor`](Self::floor) shows the loss of everything, not that of one key. So a server that keeps revocations must not
///   evict (`maxmemory-policy noeviction`).
/// - An epoch never goes back; each `revoke_all` makes it strictly greater, and not less than the store's
///   time in microseconds, so that one that was lost and is set again is greater than any that a token carries. That holds for
///   revocations by several processes, and where the store's wall clock has gone back.
/// - A later revocation never shortens an earlier one's life.
/// - `jti`s are stored hashed.
/// - The settings of a service are recorded once ([`agree`](Self::agree)) and never expire: of several that record at once, all are
///   answered the same.
/// - A `jti` or scope identifier that is empty or over [`MAX_IDENTIFIER`](crate::key::MAX_IDENTIFIER) bytes, and
///   more than [`max_marks`](TokenCapabilities::max_marks) marks, are `InvalidInput`.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait TokenStore: fmt::Debug + Send + Sync + 'static {
    /// What this backend can take; constant over its life.
    fn capabilities(&self) -> TokenCapabilities;

    /// Names that can be used once, if the backend has them.
    ///
    /// Without, [`Tokens::claim`](super::Tokens::claim) is `Unsupported`.
    fn first_uses(&self) -> Option<&dyn FirstUses> {
        None
    }

    /// Families of refresh tokens, if the backend has them.
    ///
    /// Without, tokens that are built with [`refreshing`](super::TokensBuilder::refreshing) are refused when they are built.
    fn families(&self) -> Option<&dyn RefreshFamilies> {
        None
    }

    /// The feed of revocations, if the backend has one: the names are [`revocation_name`](super::revocation_name) of a token, and the
    /// [`segment`](Scope::segment) of a scope.
    ///
    /// Without, a [copy of a verdict](super::TokensBuilder::near) ends by its age alone.
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        None
    }

    /// Revokes one token for this long, which must reach past its expiry.
    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> Result<()>;

    /// Revokes everything issued in the scope so far, for this long, which must reach past the expiry of
    /// every token issued so far. Answers the new epoch.
    async fn revoke_all(&self, service: &Name, scope: &Scope, ttl: Ttl) -> Result<Epoch>;

    /// The epochs of the scopes, in their order; [`Epoch::NEVER`] where nothing was revoked.
    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>>;

    /// Whether a token still holds. One round trip.
    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict>;

    /// Records those settings of the service's tokens that are not recorded yet, and answers what is recorded then. A longest life
    /// that is recorded as `before` is replaced by that of `ours`, if it has one. Nothing else is ever replaced: who
    /// differs is answered the other's, and refuses to work. ([`TokenSettings::agreed`] is this rule.)
    ///
    /// `InvalidInput` for an issuer that is empty or longer than [`MAX_ISSUER`](TokenSettings::MAX_ISSUER).
    async fn agree(&self, service: &Name, ours: &TokenSettings, before: Option<Ttl>)
    -> Result<TokenSettings>;

    /// The epoch of [`Scope::Service`], which from now on never expires: where there is none it is set to the store's time in
    /// microseconds. So it is only missing where the store has lost what it had, and what is
    /// [checked for it](TokenFacts::floor) is refused then.
    async fn floor(&self, service: &Name) -> Result<Epoch>;
}
