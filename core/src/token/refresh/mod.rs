//! Refresh tokens: opaque, rotated with each use, and the end of their family if an old one is used.
//!
//! From the bottom: the secret ([`secret`]), how families live ([`policy`]), what is stored with one ([`grant`]), what came of a use
//! ([`outcome`]), the steps of a use ([`turn`]), and the calls ([`calls`]).

mod calls;
mod grant;
mod outcome;
mod policy;
mod secret;
mod turn;

pub(super) use self::calls::Refreshing;
pub use self::outcome::{EndedFamily, IssuedPair, Refreshed};
pub use self::policy::RefreshPolicy;
pub use self::secret::RefreshToken;
pub(crate) use self::turn::Rotated;
