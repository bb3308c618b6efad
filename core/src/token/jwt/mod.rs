//! JSON Web Tokens (RFC 7519): issued with what revocation needs, and verified against it, whoever has issued them.
//!
//! From the bottom: the form of a token ([`compact`], [`date`], [`claims`]), keys and what they sign by ([`algorithm`],
//! [`crypto`], [`public`], [`key`]), sets of keys ([`jwks`]) and where those of other issuers come from ([`fetch`],
//! [`http`], [`share`], [`remote`], [`issuer`]), what is expected of a token ([`expect`]), writing one ([`write`]), verifying
//! one ([`verify`]), and what the endpoints of an authorization server answer ([`introspection`], [`revocation`]).

mod algorithm;
mod claims;
mod compact;
mod crypto;
mod date;
mod error;
mod expect;
mod fetch;
#[cfg(feature = "jwks")]
mod http;
mod introspection;
mod issuer;
mod jwks;
mod key;
mod public;
mod remote;
mod revocation;
mod settings;
mod share;
mod verify;
mod write;

pub use self::algorithm::JwtAlgorithm;
pub use self::claims::Claims;
pub use self::compact::MAX_JWT;
pub use self::error::{Invalid, VerifyError};
pub use self::fetch::{FetchJwks, MAX_JWKS};
#[cfg(feature = "jwks")]
pub use self::http::HttpJwks;
pub use self::introspection::Introspection;
pub use self::issuer::Issuer;
pub use self::jwks::Jwks;
pub use self::key::JwtKey;
pub use self::revocation::Revocation;
pub(super) use self::settings::{Jwt, Settings};
