//! One connection to a server, which any number of calls share.
//!
//! A call hands its request to the [task](driver) that drives the connection, and waits for the reply. The client crate
//! makes requests and reads replies; when which of them is written and read is decided here.

mod backlog;
mod deadlines;
mod driver;
mod end;
mod events;
mod framing;
mod gathering;
mod handle;
mod handover;
mod handshake;
mod heartbeat;
mod in_flight;
mod incoming;
mod late;
mod open;
mod outgoing;
mod pacing;
mod pending;
mod pending_commands;
mod pending_reads;
mod progress;
mod queued;
#[cfg(feature = "tls")]
mod records;
mod request;
mod room;
mod status;
mod stream;
#[cfg(test)]
mod tests;
mod traffic;

pub(super) use self::events::ConnectionEvents;
pub(crate) use self::handle::Connection;
pub(super) use self::late::{Late, within, within_while};
