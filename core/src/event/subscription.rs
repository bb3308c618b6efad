//! The receiving end of a subscription.

use std::fmt;

use futures_util::Stream;

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
    /// The subscription was ended, for this reason: the right to one of its channels was taken away, say. The last item;
    /// events may have been missed before it.
    Ended(Error),
}

/// A live subscription, a stream that ends once the subscription or its backend is closed and everything is delivered. Where
/// it ends for another reason, the last item [says which](Received::Ended).
/// It ends at the server when it is dropped.
///
/// Most backends make one with [`feed`](super::feed()), whose other end takes what their reader receives.
pub trait Subscription: Stream<Item = Received> + fmt::Debug + Send + Unpin {
    /// Ends it. What is buffered can still be read.
    fn close(&mut self);
}
