//! What all stores share: the client, and the context of its connections.

use std::fmt;
use std::sync::Arc;

use crate::connect::{Client, Context};
use crate::keys::Layout;

/// One for each backend. It knows no store.
pub(crate) struct Shared {
    pub(crate) client: Client,
    pub(crate) context: Arc<Context>,
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
