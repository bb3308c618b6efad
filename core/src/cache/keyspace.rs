//! Where the entries of one cache live.

use crate::error::Result;
use crate::key::{Identifier, Key, Namespace};

/// The namespace of one cache. Near copies and waiters are kept under the identifier alone, which is the rest of a key.
#[derive(Debug, Clone)]
pub(super) struct KeySpace {
    namespace: Namespace,
    /// How many bytes of a key come before the identifier.
    stem: usize,
}

impl KeySpace {
    pub(super) fn new(namespace: Namespace) -> Self {
        let stem = namespace.to_string().len() + 1;
        Self { namespace, stem }
    }

    pub(super) fn namespace(&self) -> &Namespace {
        &self.namespace
    }

    pub(super) fn key(&self, id: impl Identifier) -> Result<Key> {
        self.namespace.key(id)
    }

    /// The escaped identifier in a key of this cache.
    pub(super) fn identifier<'a>(&self, key: &'a Key) -> &'a str {
        self.identifier_in(key.as_str()).unwrap_or_default()
    }

    /// The escaped identifier in the text of a key; `None` if it is too short for one.
    pub(super) fn identifier_in<'a>(&self, key: &'a str) -> Option<&'a str> {
        key.get(self.stem..)
    }
}
