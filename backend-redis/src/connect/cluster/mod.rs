//! A Cluster: a supervised connection to each master, and the map of slots to masters.
//!
//! The client crate's own cluster connection is not used: it repeats commands by itself, and sends a batch
//! as one command per key. Here a redirected command is repeated because the server said that it had done
//! nothing, and for no other reason.
//!
//! [`redirect`] decides what becomes of a command that was not carried out, [`send`] sends it, [`refresh`] keeps the [map](slots).

mod redirect;
mod refresh;
mod send;
mod shards;
mod slots;
mod state;

pub(super) use self::state::Cluster;
