//! Rate limits: [`RateLimiter`] for backends, [`Limits`] for services.
//!
//! The algorithm is GCRA, the virtual-scheduling form of the leaky bucket (ITU-T I.371), in whole numbers:
//! see [`Gcra`].

mod decision;
mod facade;
mod gcra;
mod store;
mod tier;

pub use self::decision::{Decision, Standing};
pub use self::facade::{Limits, LimitsBuilder, check_tiers};
pub use self::gcra::Gcra;
pub use self::store::RateLimiter;
pub use self::tier::Tier;
