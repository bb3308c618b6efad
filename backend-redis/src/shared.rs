//! What all stores share: the client, and the context of its connections.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use stanchion::contract::Contract;

use crate::connect::{Client, Context};
use crate::keys::Layout;

/// The contract that this backend was written against.
pub(crate) const CONTRACT: Contract = Contract::V1;

/// One for each backend. It knows no store.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) context: Arc<Context>,
    /// Within what time each call is answered or fails.
    pub(crate) deadline: Duration,
}

impl Shared {
    /// How keys and channels look.
    pub(crate) fn layout(&self) -> &Layout {
        &self.context.layout
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redis")
    }
}
