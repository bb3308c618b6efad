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
#[cfg(feature = "jwt")]
mod issue;
#[cfg(feature = "jwt")]
mod jwt;
mod life;
mod scope;
mod settings;
mod store;
mod telemetry;
mod verdict;

pub use self::attempt::LogInAttempt;
pub use self::builder::TokensBuilder;
pub use self::capability::TokenCapabilities;
pub use self::facade::Tokens;
#[cfg(feature = "jwt")]
pub use self::issue::{IssueOptions, IssueOutcome, IssuedToken};
#[cfg(feature = "jwt")]
pub use self::jwt::{Claims, JwtKey, VerifyError};
pub use self::scope::{Epoch, Scope};
pub use self::settings::TokenSettings;
pub use self::store::TokenStore;
pub use self::verdict::{Mark, Reason, TokenFacts, Verdict};
