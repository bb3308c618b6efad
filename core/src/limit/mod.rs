//! Rate limits: [`RateLimiter`] for backends, [`Limits`] for services.
//!
//! The algorithm is GCRA, the virtual-scheduling form of the leaky bucket (ITU-T I.371), in whole numbers:
//! see [`Gcra`].

mod capability;
mod decision;
mod facade;
mod gcra;
mod store;
mod telemetry;
mod tier;

pub use self::capability::LimitCapabilities;
pub use self::decision::{Decision, TierStatus};
pub use self::facade::{Limits, LimitsBuilder};
pub use self::gcra::Gcra;
pub use self::store::RateLimiter;
pub use self::tier::Tier;
