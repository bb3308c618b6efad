//! Why a token is not accepted.

use std::fmt;

use crate::error::Error;
use crate::token::Reason;

/// Why a token is not accepted.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum VerifyError {
    /// It is no JWT that this service accepts, whatever the time and whatever was revoked: what is wrong with it.
    #[error("the token is not valid: {0}")]
    Invalid(Invalid),
    /// It has expired.
    #[error("the token has expired")]
    Expired,
    /// It, or something it belongs to, was revoked.
    #[error("the token was revoked")]
    Revoked(Reason),
    /// Nobody knows, since the store, or the issuer that has the keys, did not answer: refuse it, or decide otherwise.
    #[error("the token could not be checked: {0}")]
    Unchecked(#[from] Error),
}

impl From<Invalid> for VerifyError {
    fn from(invalid: Invalid) -> Self {
        Self::Invalid(invalid)
    }
}

/// What is wrong with a token. For logs and metrics, and not for whoever sent it.
///
/// Claims and headers are named as they are spelt in a token: `Missing("jti")`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Invalid {
    /// It is not three parts of base64url without padding, the first two of them JSON objects (RFC 7515, 7.1).
    Form,
    /// It is longer than [`MAX_JWT`](crate::token::MAX_JWT).
    TooLong,
    /// A header parameter is not of its type.
    Header(&'static str),
    /// The header has `crit`: it demands extensions, and none is known here, or it lists none (RFC 7515, 4.1.11).
    Critical,
    /// The header's `typ` is another than is expected here (RFC 8725, 3.11).
    Type,
    /// The header's `alg` is unknown, or not that of the key.
    Algorithm,
    /// No key has the header's `kid`; or there is none, and several keys it might be.
    UnknownKey,
    /// The signature is wrong.
    Signature,
    /// A claim that is needed is not there.
    Missing(&'static str),
    /// A claim is not of its type, is empty, or longer than it may be.
    Malformed(&'static str),
    /// A claim says something else than is expected here: `iss` or `aud`.
    Unexpected(&'static str),
    /// `nbf` or `iat` is in the future, by more than the clocks' difference.
    NotYet(&'static str),
    /// It lives longer, from `iat` to `exp`, than revocations are kept: than
    /// [`max_life`](crate::token::TokensBuilder::max_life).
    LivesTooLong,
}

impl Invalid {
    /// The claim that is wrong, if it is a claim.
    pub const fn claim(self) -> Option<&'static str> {
        match self {
            Self::Missing(claim) | Self::Malformed(claim) | Self::Unexpected(claim) | Self::NotYet(claim) => {
                Some(claim)
            }
            Self::LivesTooLong => Some("exp"),
            _ => None,
        }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Form => f.write_str("it is no JWT"),
            Self::TooLong => f.write_str("it is too long"),
            Self::Header(name) => write!(f, "the header {name} is not of its type"),
            Self::Critical => f.write_str("it demands extensions that are not known"),
            Self::Type => f.write_str("it is of another type"),
            Self::Algorithm => f.write_str("it is signed by another algorithm than its key's"),
            Self::UnknownKey => f.write_str("it is signed by an unknown key"),
            Self::Signature => f.write_str("its signature is wrong"),
            Self::Missing(claim) => write!(f, "the claim {claim} is missing"),
            Self::Malformed(claim) => write!(f, "the claim {claim} is malformed"),
            Self::Unexpected(claim) => write!(f, "the claim {claim} is not what is expected"),
            Self::NotYet(claim) => write!(f, "the claim {claim} is in the future"),
            Self::LivesTooLong => f.write_str("it lives longer than tokens may here"),
        }
    }
}
