//! How nodes and slots are named.

use std::sync::Arc;

/// How many slots there are.
pub(super) const SLOTS: usize = 16_384;

/// Host and port of a node.
pub(super) type Address = (String, u16);

/// The name that a node gives itself, for as long as it lives: an address may be another node's tomorrow.
pub(super) type NodeId = Arc<str>;
