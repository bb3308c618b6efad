//! Sessions.

mod outbox;
mod state;
mod store;
mod stored;

pub(crate) use self::state::State;
pub(crate) use self::store::MemorySessions;
