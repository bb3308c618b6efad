//! Cached values: plain strings with an expiry, and beside each, while it is being loaded, a lease.

mod commands;
mod replies;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::{
    CacheCapabilities, CacheStore, Fetched, Fill, FillOutcome, Generation, LeaseRequest, LeaseToken,
    SetEntry, SetOptions, SetOutcome, Tag, Watch, Watcher,
};
use stanchion::key::{Key, Namespace};
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Error, Result};

use crate::backend::Shared;
use crate::connect::{Call, Routed};
use crate::reply;
use crate::scripts::{self, Form};

#[derive(Debug)]
pub(crate) struct RedisCache(pub(crate) Arc<Shared>);

impl RedisCache {
    fn checked(&self, call: Call, check: impl FnOnce(CacheCapabilities) -> Result<()>) -> Result<()> {
        check(self.0.cache_capabilities).map_err(|error| call.named(error))
    }

    /// A call that a service would rather do without than wait for.
    fn soon(&self, call: Call) -> Call {
        call.within(self.0.cache_deadline)
    }
}

#[async_trait]
impl CacheStore for RedisCache {
    fn capabilities(&self) -> CacheCapabilities {
        self.0.cache_capabilities
    }

    fn now(&self) -> Timestamp {
        self.0.context.time.now()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.0.link.get(self.soon(Call::read("cache.get")), key).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        let call = self.soon(Call::read("cache.get_many"));
        self.checked(call, |can| can.check_batch(keys.len()))?;
        // One `GET` each, not `MGET`: that takes a list at a key for nothing, and the keys of one slot only.
        let commands = keys.iter().map(|key| Routed::get(&self.0.layout.key(key)));
        let replies = self.0.link.batch(call, commands.collect()).await?;
        call.each(replies, reply::maybe_bytes)
    }

    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        let call = self.soon(Call::read("cache.get_many"));
        self.checked(call, |can| can.check_batch(keys.len()))?;
        let build = |at: usize, form| scripts::CACHE_READ.routed(form, &[&self.0.layout.key(&keys[at])], &[]);
        let replies = self.0.link.scripts(call, keys.len(), build).await?;
        call.each(replies, replies::value_with_ttl)
    }

    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let call = Call::write("cache.set");
        self.checked(call, |can| can.check_value(value.len()))?;
        commands::check_condition(&options.when).map_err(|error| call.named(error))?;
        let stored = self
            .0
            .link
            .leased_one(call, |part, form| self.set_command(key, &value, options, part, form))
            .await?;
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
        let build = |at: usize, part, form| {
            let SetEntry { key, value, options, .. } = &entries[at];
            // Of sets of the same key none may run again, after the others, because the server did not know it.
            self.set_command(key, value, options, part, if distinct { form } else { Form::Source })
        };
        let replies = self.0.link.leased(call, entries.len(), build).await?;
        call.each(replies, replies::set)
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        let call = Call::write("cache.remove_many");
        self.checked(call, |can| can.check_batch(keys.len()))?;
        let distinct: Vec<_> = keys.iter().collect::<HashSet<_>>().into_iter().collect();
        let build = |at: usize, part, form| self.remove_command(distinct[at], part, form);
        let replies = self.0.link.leased(call, distinct.len(), build).await?;
        Ok(call.each(replies, reply::count)?.into_iter().sum())
    }

    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        let call = Call::write("cache.add");
        let build = |part, form| self.add_command(key, delta, ttl, part, form);
        let sum = self.0.link.leased_one(call, build).await?;
        reply::integer(sum).ok_or_else(|| call.unexpected())
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        let call = Call::write("cache.touch");
        let touched = self.0.link.scripted(call, |form| self.touch_command(key, ttl, form)).await?;
        reply::count(touched).map(|n| n > 0).ok_or_else(|| call.unexpected())
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        let call = Call::read("cache.ttl");
        let key = self.0.layout.key(key);
        let left = self.0.link.script(call, &scripts::CACHE_TTL, &[&key], &[]).await?;
        match reply::integer(left).ok_or_else(|| call.unexpected())? {
            -2 => Ok(None),
            millis => replies::life(millis).map(Some).ok_or_else(|| call.unexpected()),
        }
    }

    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        let call = self.soon(Call::write("cache.fetch"));
        self.checked(call, |can| {
            can.check_batch(requests.len())?;
            requests.iter().try_for_each(|request| commands::wanted(request.want).map(drop))
        })?;
        let build = |at: usize, form| self.fetch_command(&requests[at], form);
        let replies = self.0.link.scripts(call, requests.len(), build).await?;
        call.each(replies, replies::fetched)
    }

    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        let call = self.soon(Call::write("cache.fill"));
        self.checked(call, |can| {
            can.check_batch(fills.len())?;
            fills.iter().try_for_each(|fill| can.check_value(fill.value.len()))
        })?;
        let replies =
            self.0.link.scripts(call, fills.len(), |at, form| self.fill_command(&fills[at], form)).await?;
        call.each(replies, replies::filled)
    }

    async fn abandon(&self, leases: &[(Key, LeaseToken)]) -> Result<()> {
        let call = Call::write("cache.abandon");
        let build = |at: usize, form| {
            let (key, token) = &leases[at];
            self.abandon_command(key, token, form)
        };
        let replies = self.0.link.scripts(call, leases.len(), build).await?;
        call.each(replies, reply::count).map(drop)
    }

    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        let call = self.soon(Call::write("cache.generations"));
        self.checked(call, |can| can.check_batch(tags.len()))?;
        // A script each, not a plain read: the age is told by the clock of the master that made the generation.
        let build = |at: usize, form| self.tag_command(&scripts::CACHE_GENERATION, &tags[at], form);
        let replies = self.0.link.scripts(call, tags.len(), build).await?;
        call.each(replies, replies::dated_generation)
    }

    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        let call = Call::write("cache.bump");
        self.checked(call, |can| can.check_batch(tags.len()))?;
        let build = |at: usize, form| self.tag_command(&scripts::CACHE_BUMP, &tags[at], form);
        let replies = self.0.link.scripts(call, tags.len(), build).await?;
        call.each(replies, replies::generation)
    }

    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        let call = Call::read("cache.watch");
        if !self.0.cache_capabilities.watch {
            return Err(call.named(Error::unsupported("this backend is set to tell no changes")));
        }
        self.0.feed.watch(namespace, watcher).map_err(|error| call.named(error))
    }
}
