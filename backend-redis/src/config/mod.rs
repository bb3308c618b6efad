//! How a Redis backend is set up.

mod bounds;
mod convert;
mod env;
mod fields;
mod invalidation;
mod sentinel;
mod sentinel_settings;
#[cfg(feature = "serde")]
mod serde;
mod settings;
#[cfg(feature = "tls")]
mod tls;
mod url;

pub use self::convert::IntoRedisConfig;
pub use self::invalidation::Invalidation;
pub use self::settings::RedisConfig;
