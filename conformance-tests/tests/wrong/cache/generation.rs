//! Caches that are wrong about the generations of tags, and the time.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
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
use stanchion::{Error, ErrorKind, Result};
use tokio::task::yield_now;

use crate::backend::{self, locked};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A mirror that hears of nobody else's bumps.
    MirrorIsNotInvalidated,
    /// The time, and not one more than before: two bumps in the same microsecond make one.
    BumpIsTheTimeAlone,
    /// The next generation is made by the client.
    BumpIsGetAndSet,
    /// What comes after a colon is taken for something else.
    TagsAreCutAtAColon,
    /// Generations are counted from 1.
    GenerationIsACounter,
    /// Nobody keeps when a generation was made.
    AgeIsZero,
    /// The generation itself is taken for its age.
    AgeIsTheTime,
    /// The store's collation does not tell upper from lower case.
    TagsAreFolded,
    /// The tag of a namespace is a tag of its name.
    NamespacesAreTags,
    /// The replies come out of a sorted map.
    AnswersAreSorted,
    /// `MGET` without keys is an error of the server.
    NoTagsAreSent,
    /// The process's own monotonic time.
    NowIsTheUptime,
    /// A generation that is ahead of the clock is taken for spoilt, and a new one is made.
    GenerationAheadIsSpoilt,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Cache(super::Bug::Generation(bug)), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof(
        "CACHE-66",
        Bug::GenerationAheadIsSpoilt,
        "wall_clock::generations_only_grow",
        "a generation that nobody bumped, Back",
    ),
    proof(
        "CACHE-46",
        Bug::MirrorIsNotInvalidated,
        "generation::stays",
        "the generation that a bump answered",
    )
    .also(&["CACHE-50"]),
    proof("CACHE-47", Bug::BumpIsTheTimeAlone, "generation::bump", "a greater generation with each bump")
        .also(&["CACHE-55", "CACHE-66"]),
    proof(
        "CACHE-47",
        Bug::BumpIsGetAndSet,
        "generation::race_makes_distinct_ones",
        "different generations of 60 bumps at once: 60",
    ),
    proof("CACHE-47", Bug::TagsAreCutAtAColon, "generation::bump", "the generation of another tag")
        .also(&["CACHE-46", "CACHE-50", "CACHE-55"]),
    proof(
        "CACHE-48",
        Bug::GenerationIsACounter,
        "generation::is_a_time",
        "not less than the time in microseconds",
    )
    .also(&["CACHE-52"]),
    proof("CACHE-49", Bug::AgeIsZero, "generation::age", "an age that grows with the time"),
    proof("CACHE-49", Bug::AgeIsTheTime, "generation::age", "the age of a generation that was just made"),
    proof("CACHE-50", Bug::TagsAreFolded, "generation::tags", "the generations in the order of the tags"),
    proof("CACHE-50", Bug::NamespacesAreTags, "generation::tags", "the generations in the order of the tags")
        .also(&["CACHE-55"]),
    proof("CACHE-50", Bug::AnswersAreSorted, "generation::tags", "the generations in the order of the tags"),
    proof("CACHE-51", Bug::NoTagsAreSent, "generation::of_no_tags", "wrong number of arguments"),
    proof("CACHE-52", Bug::NowIsTheUptime, "time::is_told", "the time within some seconds of the store's"),
];

/// A day in 2023, in microseconds.
const BEGINNING: u64 = 1_700_000_000_000_000;

#[derive(Debug)]
pub(crate) struct Wrong {
    bug: Bug,
    right: Arc<dyn CacheStore>,
    mirror: Mutex<HashMap<Tag, Generation>>,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, right: Arc<dyn CacheStore>) -> Self {
        Self { bug, right, mirror: Mutex::default() }
    }

    fn tag(&self, tag: &Tag) -> Result<Tag> {
        // The name, as it was before it was escaped, if that is all that was.
        let text = tag.key().as_str().replace("%3A", ":");
        let mut parts = text.splitn(3, ':').skip(1);
        let (kind, name) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
        match self.bug {
            Bug::TagsAreCutAtAColon if kind == "tag" => match name.split_once(':') {
                Some((front, _)) if !front.is_empty() => Tag::new(front),
                _ => Ok(tag.clone()),
            },
            Bug::TagsAreFolded if kind == "tag" && name.chars().all(|c| c.is_ascii_alphabetic()) => {
                Tag::new(name.to_lowercase())
            }
            Bug::NamespacesAreTags if kind == "namespace" => Tag::new(name),
            _ => Ok(tag.clone()),
        }
    }

    fn tags(&self, tags: &[Tag]) -> Result<Vec<Tag>> {
        if self.bug == Bug::NoTagsAreSent && tags.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "wrong number of arguments"));
        }
        let mut tags = tags.iter().map(|tag| self.tag(tag)).collect::<Result<Vec<_>>>()?;
        if self.bug == Bug::AnswersAreSorted {
            tags.sort();
        }
        Ok(tags)
    }

    fn told(&self, generation: Generation) -> Generation {
        match self.bug {
            Bug::GenerationIsACounter => Generation::new(generation.get() - BEGINNING),
            Bug::GenerationAheadIsSpoilt => {
                Generation::new(backend::spoilt_if_ahead(generation.get(), self.right.now()))
            }
            _ => generation,
        }
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
        match self.bug {
            Bug::NowIsTheUptime => Timestamp::from_micros(self.right.now().as_micros() - BEGINNING),
            _ => self.right.now(),
        }
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
        self.right.set(key, value, options).await
    }

    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        self.right.set_many(entries).await
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        self.right.remove_many(keys).await
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.right.touch(key, ttl).await
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
        self.right.fill(fills).await
    }

    async fn release(&self, leases: &[Release]) -> Result<()> {
        self.right.release(leases).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheTags for Wrong {
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        let tags = self.tags(tags)?;
        let mut answers = self.right.generations(&tags).await?;
        for (tag, (generation, age)) in tags.iter().zip(&mut answers) {
            match self.bug {
                Bug::MirrorIsNotInvalidated => {
                    *generation = *locked(&self.mirror).entry(tag.clone()).or_insert(*generation);
                }
                Bug::AgeIsZero => *age = Duration::ZERO,
                Bug::AgeIsTheTime => *age = Duration::from_micros(generation.get()),
                _ => *generation = self.told(*generation),
            }
        }
        Ok(answers)
    }

    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        let tags = self.tags(tags)?;
        let before = match self.bug {
            Bug::BumpIsTheTimeAlone | Bug::BumpIsGetAndSet => self.right.generations(&tags).await?,
            _ => Vec::new(),
        };
        let first = before.first().map(|(generation, _)| *generation);
        match self.bug {
            Bug::BumpIsTheTimeAlone if first.map(Generation::get) == Some(self.right.now().as_micros()) => {
                return Ok(before.into_iter().map(|(generation, _)| generation).collect());
            }
            Bug::BumpIsGetAndSet => {
                yield_now().await;
                let now: Vec<_> = self
                    .right
                    .generations(&tags)
                    .await?
                    .into_iter()
                    .map(|(generation, _)| generation)
                    .collect();
                if now.first().copied() != first {
                    // What somebody else has made of the same one.
                    return Ok(now);
                }
            }
            _ => {}
        }
        let bumped = self.right.bump(&tags).await?;
        if self.bug == Bug::MirrorIsNotInvalidated {
            locked(&self.mirror).extend(tags.into_iter().zip(bumped.iter().copied()));
        }
        Ok(bumped.into_iter().map(|generation| self.told(generation)).collect())
    }
}

#[deny(clippy::missing_trait_methods)]
impl CacheFeed for Wrong {
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.right.watch(namespace, watcher)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheCounters for Wrong {
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        self.right.add(key, delta, ttl).await
    }
}
