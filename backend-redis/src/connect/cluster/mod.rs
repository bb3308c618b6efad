//! A Cluster: a supervised connection to each master, and the map of slots to masters.
//!
//! The client crate's own cluster connection is not used: it repeats commands by itself, and sends a batch
//! as one command per key. Here a redirected command is repeated because the server said that it had done
//! nothing, and for no other reason.
//!
//! [`redirect`] decides what becomes of a command that was not carried out, [`send`] sends it, [`refresh`] keeps the [map](slots):
//! [`doubts`] are why it is drawn anew, [`pace`] says how soon, [`sources`] which nodes are asked, a [`round`] asks them, and
//! [`draw`] decides by their [views](view). [`opening`] is who connects where a redirect leads; [`anywhere`] is the node for events; [`renewals`] are new connections to an address
//! that has become another server's.

mod address;
mod anywhere;
mod doubts;
mod draw;
mod opening;
mod pace;
mod place;
mod redirect;
mod refresh;
mod renew;
mod renewals;
mod round;
mod send;
mod shards;
mod slots;
mod sources;
mod state;
mod view;

pub(super) use self::state::Cluster;
