//! Events: `PUBLISH` on one channel per domain, and one connection for all subscriptions.

mod bus;
mod registry;
mod subscriptions;

pub(crate) use self::bus::RedisEvents;
pub(crate) use self::subscriptions::Subscriptions;
