//! How a Redis backend is set up.

mod convert;
mod invalidation;
mod settings;
#[cfg(feature = "tls")]
mod tls;
mod url;

pub use self::convert::IntoRedisConfig;
pub use self::invalidation::Invalidation;
pub use self::settings::RedisConfig;
