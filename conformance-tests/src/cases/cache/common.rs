//! What the cases of the cache share.

use bytes::Bytes;
use stanchion::cache::{CacheStore, LeaseToken, SetEntry, SetOptions, SetOutcome, When};
use stanchion::key::Key;
use stanchion::time::Ttl;

use crate::Outcome;
use crate::check::same;

pub(super) fn key(id: &str) -> Outcome<Key> {
    Ok(Key::new("cache", "case", id)?)
}

pub(super) fn keys<const N: usize>(ids: [&str; N]) -> Outcome<Vec<Key>> {
    ids.into_iter().map(key).collect()
}

/// What proves a lease.
pub(super) const fn token(n: u8) -> LeaseToken {
    LeaseToken::new([n; 16])
}

pub(super) fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

pub(super) fn always() -> SetOptions {
    SetOptions::new(Ttl::MAX)
}

/// An entry of a batch, set whatever is there.
pub(super) fn entry(key: Key, value: Bytes) -> SetEntry {
    SetEntry::new(key, value, always())
}

pub(super) async fn put_many(store: &dyn CacheStore, entries: &[SetEntry]) -> Outcome {
    let stored = store.set_many(entries).await?;
    same(stored, vec![SetOutcome::Stored; entries.len()], "unconditional sets")
}

pub(super) async fn put(store: &dyn CacheStore, id: &str, value: &'static str) -> Outcome {
    same(store.set(&key(id)?, bytes(value), &always()).await?, SetOutcome::Stored, "an unconditional set")
}

pub(super) async fn set_if(
    store: &dyn CacheStore,
    id: &str,
    value: &'static str,
    when: When,
) -> Outcome<SetOutcome> {
    Ok(store.set(&key(id)?, bytes(value), &always().when(when)).await?)
}

pub(super) async fn holds(store: &dyn CacheStore, id: &str, value: Option<&'static str>) -> Outcome {
    same(store.get(&key(id)?).await?, value.map(bytes), id)
}
