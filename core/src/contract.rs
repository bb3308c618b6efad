//! What every store declares, whatever its area.
//!
//! # How a contract grows
//! A store trait is a contract that others implement, so it grows without breaking them:
//! - A **new rule** of an existing method belongs to a new [`Contract`]. A backend says which one it was written against;
//!   the conformance suite runs the rules of that version and earlier ones, and reports later ones as not claimed. So a
//!   backend that passed goes on passing until its author moves it on.
//! - A **new optional part** is a trait of its own, reached by an accessor of the store trait that answers `None` unless
//!   it is written: the only kind of default method a store trait has. The façade degrades as documented where it is
//!   `None`. Decorators deny `clippy::missing_trait_methods`, so that none forgets to pass a new part on.
//! - A **new method without which nothing works** would break everybody. There is none before the next major version.
//! - **Outcomes, options and capabilities** that will grow are `#[non_exhaustive]`; a backend refuses what it does not
//!   know as [`Unsupported`](crate::ErrorKind::Unsupported). Which are closed, and why, is in decision record 0018.

use std::time::Duration;

/// The version of the store contracts that a backend was written against.
///
/// Name the version, and not [`LATEST`](Self::LATEST), in a backend: an update of this library must not claim for a
/// backend what its author has not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Contract(u16);

impl Contract {
    /// The first version.
    pub const V1: Self = Self(1);
    /// The version that this release of the library specifies.
    pub const LATEST: Self = Self::V1;

    /// The version of this number: for suites, which know of later ones than the backend they run on.
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number of this version.
    pub const fn number(self) -> u16 {
        self.0
    }
}

/// What every store declares. Constant over the life of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct BaseCapabilities {
    /// The contract that the backend was written against.
    pub contract: Contract,
    /// Within what time each call is answered or fails, whatever becomes of the store. `None` if the backend keeps no
    /// deadline: then [`Stores`](crate::stores::Stores) puts one around each call. Zero for a store that never waits.
    pub call_deadline: Option<Duration>,
}

impl BaseCapabilities {
    /// A backend of this contract, without a deadline of its own.
    pub const fn new(contract: Contract) -> Self {
        Self { contract, call_deadline: None }
    }

    /// With a deadline of its own for every call.
    #[must_use]
    pub const fn call_deadline(mut self, deadline: Duration) -> Self {
        self.call_deadline = Some(deadline);
        self
    }
}
