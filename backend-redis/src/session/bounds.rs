//! Bounds of lives, as the scripts take them.

use stanchion::session::SessionBounds;

/// The bounds of a handle, and how they are sent.
#[derive(Debug, Clone)]
pub(super) struct Bounds {
    pub(super) values: SessionBounds,
    /// The first argument of the scripts.
    pub(super) text: String,
}

impl Bounds {
    pub(super) fn new(values: SessionBounds) -> Self {
        let SessionBounds { usual, own, .. } = values;
        let numbers = [usual.idle, usual.absolute, own.idle, own.absolute];
        Self { values, text: numbers.map(|ttl| ttl.as_millis().to_string()).join(" ") }
    }

    pub(super) fn arg(&self) -> &[u8] {
        self.text.as_bytes()
    }
}
