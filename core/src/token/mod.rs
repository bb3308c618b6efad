//! Token revocation and issuing: [`TokenStore`] for backends, [`Tokens`] for services.
//!
//! Two things can be revoked: one token, by its `jti`, and everything that was issued within a scope (a
//! user, a session, a client, the whole service) so far. For a scope the store keeps an *epoch*, a number
//! that only grows. A token carries the epochs it was issued under; it is revoked once the store's is
//! greater. No clocks of two machines are compared.

mod agree;
mod attempt;
mod builder;
mod capability;
mod facade;
mod family;
mod first_use;
#[cfg(feature = "jwt")]
mod issue;
#[cfg(feature = "jwt")]
mod jwt;
mod life;
mod names;
mod near;
mod publish;
#[cfg(feature = "jwt")]
mod refresh;
mod scope;
mod settings;
mod single_use;
mod store;
mod telemetry;
mod verdict;

pub use self::attempt::LogInAttempt;
pub use self::builder::TokensBuilder;
pub use self::capability::TokenCapabilities;
pub use self::facade::Tokens;
pub use self::family::{
    FamilyId, MAX_FAMILY_DATA, NewFamily, RefreshFamilies, RefreshHash, RotateOutcome, Rotation, Salt,
};
pub use self::first_use::FirstUses;
#[cfg(feature = "jwt")]
pub use self::issue::{IssueOptions, IssueOutcome, IssuedToken};
#[cfg(feature = "jwks")]
pub use self::jwt::HttpJwks;
#[cfg(feature = "jwt")]
pub use self::jwt::{
    Claims, FetchJwks, Introspection, Invalid, Issuer, Jwks, JwtAlgorithm, JwtKey, MAX_JWKS, MAX_JWT,
    Revocation, VerifyError,
};
pub use self::names::revocation_name;
#[cfg(feature = "jwt")]
use self::refresh::Refreshing;
#[cfg(feature = "jwt")]
pub(crate) use self::refresh::Rotated;
#[cfg(feature = "jwt")]
pub use self::refresh::{EndedFamily, IssuedPair, RefreshPolicy, RefreshToken, Refreshed};
pub use self::scope::{Epoch, Scope};
pub use self::settings::TokenSettings;
pub use self::store::TokenStore;
pub use self::verdict::{Mark, Reason, TokenFacts, Verdict};
