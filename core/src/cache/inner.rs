//! What all handles of one cache share, and how it reads the store.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::DropGuard;

use super::breaker::Breaker;
use super::flight::Flights;
use super::judge::{Found, Judged};
use super::mirror::Mirror;
use super::near::{NearEntry, Snapshot};
use super::policy::Policy;
use super::stats::{Count, Counts};
use super::told::Told;
use super::wire::Wire;
use super::{CacheStore, Freshness, Generation, Tag, Watch, Watcher};
use crate::codec::Codec;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Topic;
use crate::event::standard::{CacheInvalidated, CacheWarmed};
use crate::key::{Key, Namespace};
use crate::time::{Monotonic, Timestamp, Ttl};

/// The tags that follow from an escaped identifier.
pub(super) type TagsOf = Arc<dyn Fn(&str) -> Vec<Tag> + Send + Sync>;

pub(super) struct Inner<T, C> {
    pub(super) store: Arc<dyn CacheStore>,
    pub(super) environment: Environment,
    pub(super) namespace: Namespace,
    pub(super) namespace_tag: Tag,
    /// How many bytes of a key come before the identifier.
    pub(super) stem: usize,
    pub(super) wire: Wire<C>,
    pub(super) policy: Policy,
    /// `None` in plain mode, which knows no tags.
    pub(super) mirror: Option<Arc<Mirror>>,
    pub(super) tags_of: Option<TagsOf>,
    pub(super) told: Arc<Told<T>>,
    /// The feeds of the near cache.
    pub(super) watches: Vec<Watch>,
    /// The feed for those who wait, made at the first need if there is no near cache.
    pub(super) late_watch: OnceLock<Option<Watch>>,
    pub(super) flights: Arc<Flights<T>>,
    pub(super) throttled: Throttled,
    pub(super) breaker: Breaker,
    pub(super) counts: Arc<Counts>,
    pub(super) topics: Option<(Topic<CacheInvalidated>, Topic<CacheWarmed>)>,
    /// Ends what follows events for this cache, when it is dropped.
    pub(super) ended: DropGuard,
}

/// What a read was served with.
pub(super) type Value<T> = (Option<Arc<T>>, Freshness);

/// A value that was found near.
pub(super) struct NearHit<T> {
    /// `None`: it is known that there is none.
    pub(super) value: Option<Arc<T>>,
    /// It is to be loaded anew in the background, and was fresh until then by the store's time.
    pub(super) due: Option<Timestamp>,
}

/// What is to be remembered from before the store is read.
#[derive(Debug, Clone, Copy)]
pub(super) struct Before {
    pub(super) near: Option<Snapshot>,
    pub(super) tags_seen: u64,
    /// What is found wanting was counted before.
    pub(super) again: bool,
}

impl Before {
    /// Counts what is found wanting, once.
    pub(super) fn count(self, count: &Count) {
        if !self.again {
            count.one();
        }
    }
}

impl<T, C> Inner<T, C> {
    pub(super) fn identifier<'a>(&self, key: &'a Key) -> &'a str {
        key.as_str().get(self.stem..).unwrap_or_default()
    }

    pub(super) fn now(&self) -> Monotonic {
        self.environment.clock.now()
    }

    /// Why there are no tags here.
    pub(super) fn no_tags(&self) -> Error {
        Error::unsupported(if self.wire.plain {
            "plain values carry no tags"
        } else {
            "this store has no tags"
        })
    }

    pub(super) fn store_failed(&self, error: &Error) {
        self.counts.store_failures.one();
        tracing::debug!(namespace = %self.namespace, %error, "the cache store failed; the loader serves");
    }

    /// A loaded value is served and not stored, for this reason.
    pub(super) fn not_filled(&self, error: &Error) {
        if matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Codec | ErrorKind::Unsupported) {
            self.counts.unstorable.one();
            tracing::warn!(namespace = %self.namespace, %error, "a loaded value can't be stored; it is loaded each time");
        } else {
            self.store_failed(error);
        }
    }

    /// Asks the store within the deadline, unless it has not answered for a while.
    pub(super) async fn ask<R>(&self, question: impl Future<Output = Result<R>>) -> Result<R> {
        if !self.breaker.allows(|| self.now()) {
            return Err(Error::new(ErrorKind::Unavailable, "the store has not answered for a while")
                .with_operation("cache.get"));
        }
        let deadline = self.policy.store_deadline;
        let answer = match self.store.capabilities().read_deadline {
            Some(its) if its <= deadline => question.await,
            _ => tokio::select! {
                biased;
                answer = question => answer,
                () = self.environment.sleep(deadline) => {
                    Err(Error::new(ErrorKind::Timeout, format!("the store did not answer within {deadline:?}")))
                }
            },
        };
        match &answer {
            Err(error) if error.kind().is_transient() => self.breaker.failed(self.now()),
            _ => self.breaker.answered(),
        }
        answer
    }

    /// Makes sure that those who wait for another process's load are told of it.
    pub(super) fn watch_for_waiters(&self)
    where
        T: Send + Sync + 'static,
    {
        if !self.watches.is_empty() {
            return;
        }
        // Without, they look again after a while.
        if let Some(feed) = self.store.feed() {
            let watcher = Arc::clone(&self.told) as Arc<dyn Watcher>;
            self.late_watch.get_or_init(|| feed.watch(&self.namespace, watcher).ok());
        }
    }

    /// The tags of an identifier that are known beforehand.
    pub(super) fn tags_of(&self, identifier: &str) -> Vec<Tag> {
        self.tags_of.as_ref().map(|tags_of| tags_of(identifier)).unwrap_or_default()
    }

    pub(super) fn before(&self, identifier: &str) -> Before {
        Before {
            tags_seen: self.mirror.as_ref().map_or(0, |mirror| mirror.changes()),
            near: self.told.near.as_ref().map(|near| near.snapshot(identifier)),
            again: false,
        }
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Inner<T, C> {
    /// What the near cache holds of an identifier and may be served; counts a hit. `absence`: whether the knowledge that
    /// there is no value is an answer.
    pub(super) fn near(&self, identifier: &str, absence: bool) -> Option<NearHit<T>> {
        let near = self.told.near.as_ref()?;
        // Looked at where it is, and taken apart at the end: it is moved about as little as can be.
        let mut found = near.get(identifier);
        let entry = found.as_ref()?;
        let now = self.now();
        if now >= entry.fresh_until || (entry.value.is_none() && !absence) {
            return None;
        }
        if let (Some(more), Some(mirror)) = (&entry.more, &self.mirror) {
            // They are compared only after something was told of any tag.
            let seen = mirror.changes();
            if seen != more.tags_seen && !more.tags.is_empty() {
                found = near.compared(identifier, seen, |tag| mirror.peek(tag));
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
        Some(NearHit { value, due })
    }

    /// What was known last of an identifier, for when neither store nor loader answers and the policy asks for it.
    pub(super) fn last_resort(&self, identifier: &str) -> Option<(Option<Arc<T>>, Duration)> {
        if self.policy.fail_safe.is_zero() {
            return None;
        }
        let entry = self.told.near.as_ref()?.last_resort(identifier)?;
        let age = self.now().saturating_since(entry.fresh_until);
        if age > self.policy.fail_safe {
            return None;
        }
        match entry.value {
            Some(value) => Some((Some(value.downcast::<T>().ok()?), age)),
            None => Some((None, age)),
        }
    }

    /// Reads one entry. An error is the caller's own mistake, or that the stores are closed.
    pub(super) async fn look(&self, key: &Key) -> Result<Found<T>> {
        let before = self.before(self.identifier(key));
        let read = if self.wire.plain {
            let answer = self.ask(self.store.get_many_with_ttl(std::slice::from_ref(key))).await;
            answer.map(|mut found| found.pop().flatten().map(|(bytes, left)| (bytes, Some(left))))
        } else {
            self.ask(self.store.get(key)).await.map(|found| found.map(|bytes| (bytes, None)))
        };
        match read {
            Ok(Some((bytes, left))) => self.judged(key, &bytes, left, before).await,
            Ok(None) => Ok(Found::Nothing { present: false }),
            Err(error) if is_callers(&error) => Err(error),
            Err(error) => {
                self.store_failed(&error);
                Ok(Found::Down(error))
            }
        }
    }

    /// Judges stored bytes, asking for the generations that are not mirrored.
    pub(super) async fn judged(
        &self,
        key: &Key,
        bytes: &Bytes,
        left: Option<Ttl>,
        before: Before,
    ) -> Result<Found<T>> {
        let mirrored = |tag: &Tag| self.mirror.as_ref().and_then(|mirror| mirror.peek(tag));
        match self.judge(key, bytes, left, before, mirrored) {
            Judged::Found(found) => Ok(found),
            // Seldom; on the heap, so that it is no part of every read's future.
            Judged::Needs(tags) => Box::pin(self.judge_asking(key, bytes, left, before, tags)).await,
        }
    }

    /// Judges stored bytes by the generations of these tags, which are not mirrored, and of those that are.
    async fn judge_asking(
        &self,
        key: &Key,
        bytes: &Bytes,
        left: Option<Ttl>,
        before: Before,
        tags: Vec<Tag>,
    ) -> Result<Found<T>> {
        let Some(mirror) = &self.mirror else {
            return Ok(Found::Nothing { present: true });
        };
        match self.ask(mirror.generations(&tags)).await {
            Ok(generations) => {
                let known: Vec<(Tag, Generation)> = tags.into_iter().zip(generations).collect();
                Ok(self.judge_with(key, bytes, left, before, &known))
            }
            Err(error) if is_callers(&error) => Err(error),
            Err(error) => {
                self.store_failed(&error);
                Ok(Found::Down(error))
            }
        }
    }

    /// Judges stored bytes by these generations.
    pub(super) fn judge_with(
        &self,
        key: &Key,
        bytes: &Bytes,
        left: Option<Ttl>,
        before: Before,
        known: &[(Tag, Generation)],
    ) -> Found<T> {
        // Those that were mirrored a moment ago are not among them.
        let mirrored = |tag: &Tag| self.mirror.as_ref().and_then(|mirror| mirror.peek(tag));
        let of = |tag: &Tag| {
            let asked = known.iter().find(|(one, _)| one == tag).map(|(_, generation)| *generation);
            asked.or_else(|| mirrored(tag))
        };
        match self.judge(key, bytes, left, before, of) {
            Judged::Found(found) => found,
            // One is no longer mirrored: it has just been dropped, or the feed was lost.
            Judged::Needs(_) => Found::Nothing { present: true },
        }
    }
}

/// Whether an error is not the store's: then no loader makes up for it.
pub(super) fn is_callers(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::InvalidInput | ErrorKind::Closed)
}

/// Keys whose loader has failed a short while ago, with a stale value at hand.
#[derive(Debug, Default)]
pub(super) struct Throttled(Mutex<std::collections::HashMap<Key, Monotonic>>);

/// Beyond this many keys the throttle begins anew.
const THROTTLED: usize = 10_000;

impl Throttled {
    pub(super) fn until(&self, key: &Key, end: Monotonic, now: Monotonic) {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= THROTTLED {
            keys.retain(|_, end| *end > now);
            if keys.len() >= THROTTLED {
                keys.clear();
            }
        }
        keys.insert(key.clone(), end);
    }

    pub(super) fn is(&self, key: &Key, now: Monotonic) -> bool {
        let mut keys = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match keys.get(key) {
            Some(end) if *end > now => true,
            Some(_) => {
                keys.remove(key);
                false
            }
            None => false,
        }
    }

    pub(super) fn end(&self, key: &Key) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}
