//! The cache store.

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags, Fetched, Fill,
    FillOutcome, Generation, LeaseRequest, Release, SetEntry, SetOptions, SetOutcome, Shard, Tag, Watch,
    Watcher,
};
use stanchion::key::{Key, Namespace};
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Error, Result};

use super::commands::{self, CacheCommands};
use super::groups::Groups;
use super::quorum::Quorum;
use super::replies;
use crate::command::{Call, Scripts, Step};
use crate::config::{Invalidation, RedisConfig};
use crate::copies::{self, Group};
use crate::feed::Feed;
use crate::reply;
use crate::shared::{CONTRACT, Shared};

/// Those of the settings that are the cache's alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CacheSettings {
    capabilities: CacheCapabilities,
    has_feed: bool,
    deadline: Duration,
    invalidation: Invalidation,
}

impl CacheSettings {
    pub(crate) fn new(config: &RedisConfig) -> Self {
        Self {
            capabilities: CacheCapabilities::new(CONTRACT)
                .max_value_bytes(config.max_value_bytes)
                .max_batch(config.max_batch)
                .call_deadline(config.deadline)
                .read_deadline(config.cache_deadline),
            has_feed: config.has_feed,
            deadline: config.cache_deadline,
            invalidation: config.invalidation,
        }
    }

    pub(crate) fn has_feed(self) -> bool {
        self.has_feed
    }

    pub(crate) fn invalidation(self) -> Invalidation {
        self.invalidation
    }
}

#[derive(Debug)]
pub(crate) struct RedisCache {
    shared: Arc<Shared>,
    feed: Feed,
    commands: CacheCommands,
    capabilities: CacheCapabilities,
    has_feed: bool,
    deadline: Duration,
    groups: Groups,
}

impl RedisCache {
    pub(crate) fn new(shared: &Arc<Shared>, feed: &Feed, settings: CacheSettings) -> Self {
        Self {
            commands: CacheCommands::new(shared.layout(), settings.invalidation),
            shared: Arc::clone(shared),
            feed: feed.clone(),
            capabilities: settings.capabilities,
            has_feed: settings.has_feed,
            deadline: settings.deadline,
            groups: Groups::default(),
        }
    }

    fn checked(&self, call: Call, check: impl FnOnce(CacheCapabilities) -> Result<()>) -> Result<()> {
        check(self.capabilities).map_err(|error| call.named(error))
    }

    /// Generations, where they are kept in copies.
    fn quorum(&self, call: Call, deadline: Duration) -> Quorum<'_> {
        let Self { shared, feed, commands, .. } = self;
        Quorum { shared, feed, commands, call, deadline }
    }

    /// A call that a service would rather do without than wait for.
    fn soon(&self, call: Call) -> Call {
        call.within(self.deadline)
    }
}

#[async_trait]
impl CacheStore for RedisCache {
    fn capabilities(&self) -> CacheCapabilities {
        self.capabilities
    }

    fn leases(&self) -> Option<&dyn CacheLeases> {
        Some(self)
    }

    fn tags(&self) -> Option<&dyn CacheTags> {
        Some(self)
    }

    fn feed(&self) -> Option<&dyn CacheFeed> {
        self.has_feed.then_some(self)
    }

    fn counters(&self) -> Option<&dyn CacheCounters> {
        Some(self)
    }

    fn now(&self) -> Timestamp {
        self.shared.context.time.now()
    }

    fn shard_of(&self, key: &Key) -> Shard {
        let layout = self.shared.layout();
        if layout.has_copies() && copies::is_generation(key) {
            return Group::of(key).shard();
        }
        self.shared.client.shard_of(|| layout.slot_of(key))
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.shared.client.get(self.soon(Call::read("cache.get")), key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        let call = self.soon(Call::read("cache.get_many"));
        self.checked(call, |can| can.check_batch(keys.len()))?;
        // One `GET` each, not `MGET`: that takes a list at a key for nothing, and the keys of one slot only.
        let Self { shared, commands, .. } = self;
        let send = |call, group: Range<usize>| {
            shared.client.batch(call, keys[group].iter().map(|key| commands.get(key)).collect())
        };
        let replies = self.groups.send((call, self.deadline), keys.len(), None, send).await?;
        call.each(replies, reply::maybe_bytes)
    }

    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        let call = self.soon(Call::read("cache.get_many_with_ttl"));
        self.checked(call, |can| can.check_batch(keys.len()))?;
        let Self { shared, commands, .. } = self;
        let send = |call, group: Range<usize>| {
            let keys = &keys[group];
            let read = move |step: Step| commands.get_with_ttl(&keys[step.index], step);
            shared.client.run_all(call, Scripts::many(keys.len(), read))
        };
        let replies = self.groups.send((call, self.deadline), keys.len(), None, send).await?;
        call.each(replies, replies::value_with_ttl)
    }

    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let call = Call::write("cache.set");
        self.checked(call, |can| can.check_value(value.len()))?;
        commands::check_condition(&options.when).map_err(|error| call.named(error))?;
        let set = Scripts::one(|step| self.commands.set(key, &value, options, step)).separable();
        let stored = self.shared.client.run(call, set).await?;
        replies::set(stored).ok_or_else(|| call.unexpected())
    }

    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        let call = Call::write("cache.set_many");
        self.checked(call, |can| {
            can.check_batch(entries.len())?;
            entries.iter().try_for_each(|entry| {
                commands::check_condition(&entry.options.when)?;
                can.check_value(entry.value.len())
            })
        })?;
        let distinct = entries.iter().map(|entry| &entry.key).collect::<HashSet<_>>().len() == entries.len();
        let Self { shared, commands, .. } = self;
        let send = |call, group: Range<usize>| {
            let entries = &entries[group];
            let sets = Scripts::many(entries.len(), move |step: Step| {
                let SetEntry { key, value, options, .. } = &entries[step.index];
                commands.set(key, value, options, step)
            });
            // The groups are in order too.
            let sets = if distinct { sets } else { sets.in_order() };
            shared.client.run_all(call, sets.separable())
        };
        let written = |at: usize| entries[at].key.as_str().len() + entries[at].value.len();
        let replies = self.groups.send((call, shared.deadline), entries.len(), Some(&written), send).await?;
        call.each(replies, replies::set)
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        let call = Call::write("cache.remove_many");
        self.checked(call, |can| can.check_batch(keys.len()))?;
        let distinct: Vec<_> = keys.iter().collect::<HashSet<_>>().into_iter().collect();
        let removals = Scripts::many(distinct.len(), |step| self.commands.remove(distinct[step.index], step));
        let replies = self.shared.client.run_all(call, removals.separable()).await?;
        Ok(call.each(replies, reply::count)?.into_iter().sum())
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        let call = Call::write("cache.touch");
        let touch = Scripts::one(|step| self.commands.touch(key, ttl, step));
        let touched = self.shared.client.run(call, touch).await?;
        reply::count(touched).map(|n| n > 0).ok_or_else(|| call.unexpected())
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        let call = Call::read("cache.ttl");
        let left = self.shared.client.run(call, Scripts::one(|step| self.commands.ttl(key, step))).await?;
        match reply::integer(left).ok_or_else(|| call.unexpected())? {
            -2 => Ok(None),
            millis => replies::life(millis).map(Some).ok_or_else(|| call.unexpected()),
        }
    }
}

#[async_trait]
impl CacheLeases for RedisCache {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        let call = self.soon(Call::write("cache.fetch"));
        self.checked(call, |can| {
            can.check_batch(requests.len())?;
            requests.iter().try_for_each(|request| commands::wanted(request.want).map(drop))
        })?;
        let Self { shared, commands, .. } = self;
        let send = |call, group: Range<usize>| {
            let requests = &requests[group];
            let fetch = move |step: Step| commands.fetch(&requests[step.index], step);
            shared.client.run_all(call, Scripts::many(requests.len(), fetch))
        };
        let replies = self.groups.send((call, self.deadline), requests.len(), None, send).await?;
        call.each(replies, replies::fetched)
    }

    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        // Its caller was served what was loaded, or is soon, and does not wait for it as for a read.
        let call = Call::write("cache.fill");
        self.checked(call, |can| {
            can.check_batch(fills.len())?;
            fills.iter().try_for_each(|fill| can.check_value(fill.value.len()))
        })?;
        let Self { shared, commands, .. } = self;
        let send = |call, group: Range<usize>| {
            let fills = &fills[group];
            let fill = move |step: Step| commands.fill(&fills[step.index], step);
            shared.client.run_all(call, Scripts::many(fills.len(), fill))
        };
        let written = |at: usize| fills[at].key.as_str().len() + fills[at].value.len();
        let replies = self.groups.send((call, shared.deadline), fills.len(), Some(&written), send).await?;
        call.each(replies, replies::filled)
    }

    async fn release(&self, leases: &[Release]) -> Result<()> {
        let call = Call::write("cache.release");
        let releases = Scripts::many(leases.len(), |step| self.commands.release(&leases[step.index], step));
        let replies = self.shared.client.run_all(call, releases).await?;
        call.each(replies, reply::count).map(drop)
    }
}

#[async_trait]
impl CacheTags for RedisCache {
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        let call = self.soon(Call::write("cache.generations"));
        self.checked(call, |can| can.check_batch(tags.len()))?;
        if self.shared.layout().has_copies() {
            return self.quorum(call, self.deadline).read(tags).await;
        }
        // A script each, not a plain read: the age is by the clock of the master that made the generation.
        let reads = Scripts::many(tags.len(), |step| self.commands.generation(&tags[step.index], step));
        let replies = self.shared.client.run_all(call, reads).await?;
        call.each(replies, replies::dated_generation)
    }

    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        let call = Call::write("cache.bump");
        self.checked(call, |can| can.check_batch(tags.len()))?;
        if self.shared.layout().has_copies() {
            return self.quorum(call, self.shared.deadline).bump(tags).await;
        }
        let bumps = Scripts::many(tags.len(), |step| self.commands.bump(&tags[step.index], step));
        let replies = self.shared.client.run_all(call, bumps).await?;
        call.each(replies, replies::generation)
    }
}

impl CacheFeed for RedisCache {
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        let call = Call::read("cache.watch");
        if !self.has_feed {
            return Err(
                call.named(Error::unsupported("this backend is set to have no feed of invalidations"))
            );
        }
        self.feed.watch(namespace, watcher).map_err(|error| call.named(error))
    }
}

#[async_trait]
impl CacheCounters for RedisCache {
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        let call = Call::write("cache.add");
        let addition = Scripts::one(|step| self.commands.add(key, delta, ttl, step)).separable();
        let sum = self.shared.client.run(call, addition).await?;
        reply::integer(sum).ok_or_else(|| call.unexpected())
    }
}
