//! Sessions: a hash each, and in the same slot a sorted set of each user's sessions.
//!
//! Whether a session has expired follows from the times in the record and the server's clock, to the microsecond; the keys'
//! own expiry only cleans up behind that.

mod replies;
mod split;
mod store;

pub(crate) use self::store::RedisSessions;
