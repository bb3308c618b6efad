//! What one master says on its feed connection.

use std::sync::Weak;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{PushInfo, PushKind, Value};
use stanchion::Result;

use super::Feed;
use super::state::Seat;
use crate::connect::{Connection, PushHandler};

/// The connection's handler. It must not keep the feed alive, which keeps the connection.
pub(super) struct Listener {
    feed: Weak<Feed>,
    seat: Seat,
}

impl Listener {
    pub(super) fn new(feed: Weak<Feed>, seat: Seat) -> Self {
        Self { feed, seat }
    }
}

impl PushHandler for Listener {
    fn pushed(&self, info: PushInfo) {
        let Some(feed) = self.feed.upgrade() else { return };
        match info.kind {
            // By tracking: all keys that one command changed, or nil for all there are.
            PushKind::Invalidate => match info.data.first() {
                Some(Value::Array(keys)) => {
                    for key in keys {
                        if let Value::BulkString(key) = key {
                            feed.changed(key);
                        }
                    }
                }
                _ => feed.state().flushed(),
            },
            // By the bus: the message on the namespace's channel is the key.
            PushKind::Message => {
                if let Some(Value::BulkString(key)) = info.data.get(1) {
                    feed.changed(key);
                }
            }
            _ => {}
        }
    }

    fn connected(&self, connection: Connection, generation: u64) -> BoxFuture<'_, Result<()>> {
        async move {
            let Some(feed) = self.feed.upgrade() else { return Ok(()) };
            let wanted = feed.state().wanted();
            if feed.ask(connection, &wanted).await? {
                feed.state().coming(&self.seat, generation, wanted);
            }
            Ok(())
        }
        .boxed()
    }

    fn ready(&self, generation: u64) {
        let Some(feed) = self.feed.upgrade() else { return };
        feed.state().ready(&self.seat, generation);
        // What was watched while the connection was being made.
        let missing = feed.state().missing(&self.seat).is_some();
        if missing && let Err(error) = feed.listen_to(vec![self.seat.clone()]) {
            tracing::debug!(%error, "the feed is closing");
        }
    }

    fn lost(&self, generation: u64) {
        if let Some(feed) = self.feed.upgrade() {
            feed.state().lost(&self.seat, generation);
        }
    }
}
