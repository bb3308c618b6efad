//! Engines of the near cache: what keeps decoded values in this process, in front of any cache store.
//!
//! Both hash keys with the standard library's keyed SipHash. Identifiers may be chosen by an attacker who can time the
//! answers; the faster hashers do not claim to withstand that (foldhash says so, and aHash is built the same way unless the
//! whole program is compiled for processors with AES). The price was measured: about 10 ns of a hit.

mod bound;
#[cfg(test)]
mod contract;
#[cfg(feature = "moka")]
mod moka;
#[cfg(feature = "quick")]
mod quick;

#[cfg(feature = "moka")]
pub use self::moka::{MokaEviction, MokaNear};
#[cfg(feature = "quick")]
pub use self::quick::QuickNear;
