//! Sessions: a hash each, and in the same slot a sorted set of each user's sessions; for those that are published also the
//! set of their expiries and the outbox of their bucket.
//!
//! Whether a session has expired follows from the times in the record and the server's clock, to the microsecond; the keys'
//! own expiry only cleans up behind that.

mod between;
mod bounds;
mod outbox;
mod replies;
mod rotate;
mod single;
mod split;
mod split_create;
mod split_list;
mod store;
mod stored;

pub(crate) use self::store::RedisSessions;
