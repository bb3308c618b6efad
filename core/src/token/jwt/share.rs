//! Key sets that processes fetch for each other, in a cache store.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::cache::{CacheStore, SetOptions};
use crate::key::Key;
use crate::time::{Timestamp, Ttl};

/// A key set, and when it was fetched, by the clock of whoever did.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Document {
    pub(super) fetched_at: Timestamp,
    pub(super) jwks: String,
}

/// Where it is stored. Nothing depends on it: what can't be read there is fetched.
#[derive(Debug)]
pub(super) struct Share {
    store: Arc<dyn CacheStore>,
    key: Key,
    keep_for: Duration,
}

impl Share {
    pub(super) fn new(store: Arc<dyn CacheStore>, key: Key, keep_for: Duration) -> Self {
        Self { store, key, keep_for }
    }

    pub(super) async fn read(&self) -> Option<Document> {
        match self.store.get(&self.key).await {
            Ok(stored) => serde_json::from_slice(&stored?).ok(),
            Err(error) => {
                tracing::debug!(%error, "the shared keys of a token issuer could not be read");
                None
            }
        }
    }

    pub(super) async fn write(&self, document: &Document) {
        let (Ok(json), Ok(ttl)) = (serde_json::to_vec(document), Ttl::new(self.keep_for)) else { return };
        if let Err(error) = self.store.set(&self.key, Bytes::from(json), &SetOptions::new(ttl)).await {
            tracing::debug!(%error, "the keys of a token issuer could not be shared");
        }
    }
}
