//! How fields are shown: by their names and sizes. Their values are nobody's business who reads a log.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

/// Fields, shown as `{"cart": 12 bytes}`.
pub(super) struct Fields<'a>(pub(super) &'a BTreeMap<String, Bytes>);

impl fmt::Debug for Fields<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.0.iter().map(|(name, value)| (name, Size(value.len())))).finish()
    }
}

/// Shown as `12 bytes`.
pub(super) struct Size(pub(super) usize);

impl fmt::Debug for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.0)
    }
}
