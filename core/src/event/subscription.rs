//! The receiving end of a subscription.

use std::fmt;

use async_trait::async_trait;

use super::Envelope;
use crate::error::Error;

/// What a subscription delivers.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Received {
    /// An event.
    Event(Box<Envelope>),
    /// The subscriber was too slow: this many events between the last one and the next were dropped.
    Lagged(u64),
    /// The connection was lost and is back: events in between were missed, nobody knows how many.
    Reconnected,
    /// Something that is no event of this format was published on the channel. The stream goes on.
    Malformed(Error),
}

/// A live subscription; ends at the server when it is dropped.
#[async_trait]
pub trait Subscription: fmt::Debug + Send {
    /// The next thing, or `None` once the subscription or its backend is closed and all is delivered.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    async fn next(&mut self) -> Option<Received>;

    /// Ends it. What is buffered can still be read.
    fn close(&mut self);
}
