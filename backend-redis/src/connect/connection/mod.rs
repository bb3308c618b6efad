//! One connection to a server, which any number of calls share.
//!
//! A call hands its request to the [task](driver) that drives the connection, and waits for the reply. The client crate
//! makes requests and reads replies; when which of them is written and read is decided here.

mod backlog;
mod deadlines;
mod driver;
mod events;
mod framing;
mod gathering;
mod handle;
mod handshake;
mod in_flight;
mod incoming;
mod open;
mod outgoing;
mod pacing;
mod pending;
mod pending_commands;
mod pending_reads;
mod progress;
mod request;
mod stream;
#[cfg(test)]
mod tests;
mod traffic;

pub(super) use self::events::ConnectionEvents;
pub(crate) use self::handle::Connection;
