//! What happened to sessions, kept by the store until it is published: the optional part [`SessionOutbox`] of a store.

mod entry;
mod store;

pub use self::entry::{
    OutboxEntry, OutboxId, OutboxItem, OutboxPage, OutboxPosition, OutboxStatus, PublisherId, ReapCursor,
    Reaped, SessionEnd, SessionNews,
};
pub use self::store::{OutboxBounds, SessionOutbox};
