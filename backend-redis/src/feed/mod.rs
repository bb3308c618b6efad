//! The invalidation feed: every change in a watched namespace, of which its watchers are notified.
//!
//! There is a connection of its own to each master, opened at the first [`watch`](Feed::watch). Its reader notifies the watchers
//! itself, in the order of the wire, so that no queue stands in between. The server is asked for the invalidations of a namespace
//! when it is first watched; of one that nobody watches any more they come until the next connection, and are passed over.

mod handle;
mod listener;
mod request;
mod state;
mod watched;

pub(crate) use self::handle::Feed;
