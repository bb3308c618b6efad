//! What the near cache answers: no trip, no waiting, no allocation.

use std::sync::Arc;
use std::time::Duration;

use super::Reader;
use crate::cache::near::{NearCache, NearEntry};
use crate::time::Timestamp;

/// A value that was found near.
pub(in crate::cache) struct NearHit<T> {
    /// `None`: it is known that there is none.
    pub(in crate::cache) value: Option<Arc<T>>,
    /// It is to be loaded anew in the background, and is fresh until then by the store's time.
    pub(in crate::cache) due: Option<Timestamp>,
    /// The feed is away, and changes may have been missed for so long.
    pub(in crate::cache) unconfirmed: Option<Duration>,
}

impl<C> Reader<C> {
    /// The fresh near copy of an identifier, if there is one; counts a hit. `absence`: whether the knowledge that there is no
    /// value is an answer. `in_outage`: whether a copy is one while its feed is away, where that is asked for.
    pub(in crate::cache) fn near_hit<T: Send + Sync + 'static>(
        &self,
        identifier: &str,
        absence: bool,
        in_outage: bool,
    ) -> Option<NearHit<T>> {
        let near = self.near.as_ref()?;
        // Looked at where it is, and taken apart at the end: it is moved about as little as can be.
        let mut found = near.get(identifier);
        let Some(entry) = found.as_ref() else {
            return if in_outage { self.outage_hit(near, identifier, absence) } else { None };
        };
        let now = self.now();
        if now >= entry.fresh_until || (entry.value.is_none() && !absence) {
            return None;
        }
        if let (Some(more), Some(generations)) = (&entry.more, &self.generations) {
            // Tags are compared only after a change of any was received.
            let seen = generations.changes();
            if seen != more.tags_seen && !more.tags.is_empty() {
                found = near.compared(identifier, seen, |tag| generations.peek(tag));
            }
        }
        let NearEntry { value, more, .. } = found?;
        let value = match value {
            // Each cache has an engine of its own, so it is a `T`.
            Some(value) => Some(value.downcast::<T>().ok()?),
            None => None,
        };
        self.counts.near_hits.one();
        let due = more.and_then(|more| more.due).filter(|due| now >= due.at).map(|due| due.until);
        Some(NearHit { value, due, unconfirmed: None })
    }

    /// A fresh near copy while the feed is away, where that is asked for and not too long ago.
    #[cold]
    fn outage_hit<T: Send + Sync + 'static>(
        &self,
        near: &NearCache,
        identifier: &str,
        absence: bool,
    ) -> Option<NearHit<T>> {
        let (most, now) = (self.policy.near_in_outage?, self.now());
        let (entry, age) = near.in_outage(identifier, now)?;
        if age > most || now >= entry.fresh_until || (entry.value.is_none() && !absence) {
            return None;
        }
        if !self.may_be_current(&entry) {
            return None;
        }
        let value = match entry.value {
            Some(value) => Some(value.downcast::<T>().ok()?),
            None => None,
        };
        self.counts.outage_hits.one();
        Some(NearHit { value, due: None, unconfirmed: Some(age) })
    }

    /// Whether nothing that this process knows says that an entry is over: each of its generations, that of the namespace too,
    /// is the one that is known last.
    fn may_be_current(&self, entry: &NearEntry) -> bool {
        let (Some(generations), Some(more)) = (&self.generations, &entry.more) else {
            return true;
        };
        let is_last = |tag, generation| generations.last_known(tag) == Some(generation);
        let namespace = more.read.and_then(|(namespace, _)| namespace);
        namespace.is_none_or(|generation| is_last(&self.namespace_tag, generation))
            && more.tags.iter().all(|(tag, generation)| is_last(tag, *generation))
    }

    /// What was known last of an identifier and for how long it has been stale, where the fail-safe allows it: for when the
    /// store does not answer. Nothing that this process knows to be over.
    pub(in crate::cache) fn last_known<T: Send + Sync + 'static>(
        &self,
        identifier: &str,
    ) -> Option<(Option<Arc<T>>, Duration)> {
        if self.policy.fail_safe.is_zero() {
            return None;
        }
        let entry = self.near.as_ref()?.last_known(identifier)?;
        let age = self.now().saturating_since(entry.fresh_until);
        if !self.policy.makes_up(entry.value.is_some(), age) || !self.may_be_current(&entry) {
            return None;
        }
        match entry.value {
            Some(value) => Some((Some(value.downcast::<T>().ok()?), age)),
            None => Some((None, age)),
        }
    }
}
