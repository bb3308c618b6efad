//! Caches that are wrong about telling changes.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, Weak};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::AllParts as _;
use stanchion::cache::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags, Fetched, Fill,
    FillOutcome, Generation, LeaseRequest, Release, SetEntry, SetOptions, SetOutcome, Shard, Tag, Watch,
    Watcher,
};
use stanchion::key::{Key, Namespace};
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Error, Result};
use tokio::task::yield_now;

use crate::backend::{self, Around, locked};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A feed is declared, and refused.
    WatchIsRefused,
    /// The feed is up: who comes later is not told that it is.
    RestoredOnlyForTheFirst,
    /// The state of the connection before it is made is told as well.
    LostIsToldAtFirst,
    /// The numbers of the feed are others than those of the keys.
    RestoredOfAnotherShard,
    /// `NOLOOP`.
    OwnChangesAreNotTold,
    /// The process tells itself.
    OnlyOwnChangesAreTold,
    /// The watcher is put down in a list that nobody reads.
    NothingIsTold,
    /// Of the events of the keyspace, `expire` is not asked for.
    TouchIsNotTold,
    /// The script that fills is not that which sets.
    FillIsNotTold,
    /// The entry is as it was: there is nothing to tell.
    ReleaseIsNotTold,
    /// Generations are told as values are, under the namespace of the value.
    BumpIsNotTold,
    /// The key is told as its caller named it.
    KeysAreToldUnescaped,
    /// Restored is told when it is asked for the feed, and not when the server has agreed.
    RestoredIsToldTooSoon,
    /// The prefix is that of the namespace without the colon.
    TellsWhatBeginsAlike,
    /// Tells, and then writes.
    ToldBeforeItIsDone,
    /// Nothing takes the watcher out.
    WatchOutlivesItsDrop,
    /// The reader ends without a word.
    CloseTellsNothing,
    /// All handles of the process have one feed, and its end is told to all.
    CloseTellsEverybody,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Cache(super::Bug::Feed(bug)), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof("CACHE-53", Bug::WatchIsRefused, "watch::declared", "a watch, as declared").also(&[
        "CACHE-25", "CACHE-54", "CACHE-55", "CACHE-56", "CACHE-57", "CACHE-58", "CACHE-59", "CACHE-60",
        "CACHE-61", "CACHE-62", "CACHE-63", "CACHE-68", "CACHE-70",
    ]),
    proof("CACHE-54", Bug::RestoredOnlyForTheFirst, "watch::restored_first", "anything, told within")
        .also(&["CACHE-55", "CACHE-56", "CACHE-59", "CACHE-61", "CACHE-68"]),
    proof("CACHE-54", Bug::LostIsToldAtFirst, "watch::restored_first", "what is told first is restored"),
    proof("CACHE-68", Bug::RestoredOfAnotherShard, "watch::each_shard", "restored of each of {Shard(0)}")
        .also(&[
            "CACHE-25", "CACHE-55", "CACHE-56", "CACHE-57", "CACHE-58", "CACHE-59", "CACHE-60", "CACHE-61",
            "CACHE-70",
        ]),
    proof(
        "CACHE-55",
        Bug::OwnChangesAreNotTold,
        "watch::each_kind",
        "a set of cache:user:herea, told within",
    )
    .also(&["CACHE-60"]),
    proof(
        "CACHE-55",
        Bug::OnlyOwnChangesAreTold,
        "watch::each_kind",
        "a set of cache:user:therea, told within",
    )
    .also(&["CACHE-25", "CACHE-56", "CACHE-57", "CACHE-58", "CACHE-59", "CACHE-61", "CACHE-70"]),
    proof("CACHE-55", Bug::TouchIsNotTold, "watch::each_kind", "a touch of cache:user:herea, told within"),
    proof("CACHE-55", Bug::FillIsNotTold, "watch::each_kind", "a fill of cache:user:herefilled, told within"),
    proof(
        "CACHE-70",
        Bug::ReleaseIsNotTold,
        "watch::releases",
        "a release of the lease on cache:user:absent",
    ),
    proof("CACHE-55", Bug::BumpIsNotTold, "watch::bumps", "a bump of tags:tag:user%3Au1, told within"),
    proof("CACHE-55", Bug::KeysAreToldUnescaped, "watch::each_kind", "a set of cache:user:hereé%3A"),
    proof(
        "CACHE-56",
        Bug::RestoredIsToldTooSoon,
        "watch::nothing_is_missed",
        "what was set right after restored",
    )
    .also(&["CACHE-55", "CACHE-59"]),
    proof("CACHE-57", Bug::TellsWhatBeginsAlike, "watch::only_its_namespace", "news of other namespaces: []"),
    proof("CACHE-58", Bug::ToldBeforeItIsDone, "watch::told_when_done", "what is read after the last news")
        .also(&["CACHE-61"]),
    proof("CACHE-59", Bug::WatchOutlivesItsDrop, "watch::dropped", "no more than before"),
    proof("CACHE-60", Bug::CloseTellsNothing, "watch::closed", "lost after the close, told within"),
    proof("CACHE-60", Bug::CloseTellsEverybody, "watch::closed", "nothing lost in another handle"),
    proof(
        "CACHE-61",
        Bug::ToldBeforeItIsDone,
        "near::nothing_stale",
        "no key that is stale once all is quiet",
    )
    .also(&["CACHE-58"]),
    proof(
        "CACHE-61",
        Bug::OnlyOwnChangesAreTold,
        "near::nothing_stale",
        "no key that is stale once all is quiet",
    )
    .also(&["CACHE-25", "CACHE-55", "CACHE-56", "CACHE-57", "CACHE-58", "CACHE-59", "CACHE-70"]),
    proof("CACHE-61", Bug::NothingIsTold, "near::nothing_stale", "no key that is stale once all is quiet")
        .also(&[
            "CACHE-25", "CACHE-55", "CACHE-56", "CACHE-57", "CACHE-58", "CACHE-59", "CACHE-60", "CACHE-70",
        ]),
];

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Value,
    Touch,
    Fill,
    Bump,
    Release,
}

/// What all handles of a place know of each other.
#[derive(Debug, Default)]
pub(crate) struct Place {
    // The handle that is writing now, and what: the right store tells of it meanwhile.
    writing: Mutex<Option<(usize, Kind)>>,
    watching: Mutex<Vec<Weak<Spoiled>>>,
}

impl Place {
    fn watching(&self) -> Vec<Arc<Spoiled>> {
        locked(&self.watching).iter().filter_map(Weak::upgrade).collect()
    }
}

/// A watcher that is told otherwise than it should be.
#[derive(Debug)]
struct Spoiled {
    bug: Bug,
    handle: usize,
    /// Which watch of its handle it is, from 0.
    number: usize,
    namespace: String,
    place: Arc<Place>,
    target: Arc<dyn Watcher>,
    has_missed: AtomicBool,
}

impl Watcher for Spoiled {
    fn changed(&self, key: &str) {
        let writing = *locked(&self.place.writing);
        let (is_own, kind) =
            writing.map_or((false, None), |(handle, kind)| (handle == self.handle, Some(kind)));
        let is_told = match self.bug {
            Bug::OwnChangesAreNotTold => !is_own,
            Bug::OnlyOwnChangesAreTold => is_own,
            Bug::TouchIsNotTold => kind != Some(Kind::Touch),
            Bug::FillIsNotTold => kind != Some(Kind::Fill),
            Bug::ReleaseIsNotTold => kind != Some(Kind::Release),
            Bug::BumpIsNotTold => kind != Some(Kind::Bump),
            Bug::RestoredIsToldTooSoon => self.number == 0 || self.has_missed.swap(true, Ordering::Relaxed),
            Bug::ToldBeforeItIsDone | Bug::NothingIsTold => false,
            _ => true,
        };
        if is_told && self.bug == Bug::KeysAreToldUnescaped {
            self.target.changed(&key.replace("%7B", "{"));
        } else if is_told {
            self.target.changed(key);
        }
    }

    fn lost(&self, shard: Shard) {
        match self.bug {
            Bug::CloseTellsNothing => {}
            Bug::CloseTellsEverybody => {
                for spoiled in self.place.watching() {
                    spoiled.target.lost(shard);
                }
            }
            _ => self.target.lost(shard),
        }
    }

    fn restored(&self, shard: Shard) {
        if self.bug == Bug::LostIsToldAtFirst {
            self.target.lost(shard);
        }
        let shard = match self.bug {
            Bug::RestoredOfAnotherShard => Shard::new(shard.number() + 1),
            _ => shard,
        };
        if self.bug != Bug::RestoredOnlyForTheFirst || self.number == 0 {
            self.target.restored(shard);
        }
    }
}

#[derive(Debug)]
pub(crate) struct Wrong {
    bug: Bug,
    right: Arc<dyn CacheStore>,
    handle: usize,
    place: Arc<Place>,
    watches: AtomicUsize,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, right: Arc<dyn CacheStore>, around: &Around) -> Self {
        let place = Arc::clone(&around.feed);
        Self { bug, right, handle: around.number, place, watches: AtomicUsize::new(0) }
    }

    /// A write of these keys.
    async fn write<'a, T>(
        &self,
        kind: Kind,
        keys: impl IntoIterator<Item = &'a Key>,
        work: impl Future<Output = T>,
    ) -> T {
        if self.bug == Bug::ToldBeforeItIsDone {
            let watching = self.place.watching();
            for key in keys {
                let of = |spoiled: &&Arc<Spoiled>| key.as_str().starts_with(&spoiled.namespace);
                watching.iter().filter(of).for_each(|spoiled| spoiled.target.changed(key.as_str()));
            }
            drop(watching);
            yield_now().await;
        }
        // The right store does it, and tells of it, in one poll.
        *locked(&self.place.writing) = Some((self.handle, kind));
        let done = work.await;
        *locked(&self.place.writing) = None;
        done
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheStore for Wrong {
    fn capabilities(&self) -> CacheCapabilities {
        self.right.capabilities()
    }

    fn leases(&self) -> Option<&dyn CacheLeases> {
        self.right.leases().map(|_| self as &dyn CacheLeases)
    }

    fn tags(&self) -> Option<&dyn CacheTags> {
        self.right.tags().map(|_| self as &dyn CacheTags)
    }

    fn feed(&self) -> Option<&dyn CacheFeed> {
        self.right.feed().map(|_| self as &dyn CacheFeed)
    }

    fn counters(&self) -> Option<&dyn CacheCounters> {
        self.right.counters().map(|_| self as &dyn CacheCounters)
    }

    fn now(&self) -> Timestamp {
        self.right.now()
    }

    fn shard_of(&self, key: &Key) -> Shard {
        self.right.shard_of(key)
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.right.get(key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.right.get_many(keys).await
    }

    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        self.right.get_many_with_ttl(keys).await
    }

    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        self.write(Kind::Value, [key], self.right.set(key, value, options)).await
    }

    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        self.write(Kind::Value, entries.iter().map(|entry| &entry.key), self.right.set_many(entries)).await
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        self.write(Kind::Value, keys, self.right.remove_many(keys)).await
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.write(Kind::Touch, [key], self.right.touch(key, ttl)).await
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.right.ttl(key).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheLeases for Wrong {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        self.right.fetch(requests).await
    }

    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        self.write(Kind::Fill, fills.iter().map(|fill| &fill.key), self.right.fill(fills)).await
    }

    async fn release(&self, leases: &[Release]) -> Result<()> {
        let keys = leases.iter().map(|lease| &lease.key);
        self.write(Kind::Release, keys, self.right.release(leases)).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheTags for Wrong {
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        self.right.generations(tags).await
    }

    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        self.write(Kind::Bump, tags.iter().map(Tag::key), self.right.bump(tags)).await
    }
}

#[deny(clippy::missing_trait_methods)]
impl CacheFeed for Wrong {
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        if self.bug == Bug::WatchIsRefused {
            return Err(Error::unsupported("there is no such thing"));
        }
        let spoiled = Arc::new(Spoiled {
            bug: self.bug,
            handle: self.handle,
            number: self.watches.fetch_add(1, Ordering::Relaxed),
            namespace: format!("{namespace}:"),
            place: Arc::clone(&self.place),
            target: watcher,
            has_missed: AtomicBool::new(false),
        });
        let mut watching = locked(&self.place.watching);
        watching.retain(|spoiled| spoiled.strong_count() > 0);
        watching.push(Arc::downgrade(&spoiled));
        drop(watching);
        let watch = self.right.watch(namespace, Arc::clone(&spoiled) as Arc<dyn Watcher>)?;
        match self.bug {
            Bug::TellsWhatBeginsAlike => {
                let longer = Namespace::new(namespace.service().as_str(), &format!("{}s", namespace.kind()))?;
                let both = (watch, self.right.watch(&longer, spoiled)?);
                Ok(Watch::new(move || drop(both)))
            }
            Bug::WatchOutlivesItsDrop => {
                std::mem::forget(watch);
                Ok(Watch::new(|| ()))
            }
            _ => Ok(watch),
        }
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheCounters for Wrong {
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        self.write(Kind::Value, [key], self.right.add(key, delta, ttl)).await
    }
}
