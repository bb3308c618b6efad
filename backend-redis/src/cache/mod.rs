//! Cached values: plain strings with an expiry.

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use redis::{Cmd, Value};
use stanchion::cache::{CacheCapabilities, CacheStore, SetOptions, SetOutcome, When};
use stanchion::key::Key;
use stanchion::time::Ttl;
use stanchion::{Error, Result};

use crate::backend::Shared;
use crate::connect::{Call, Routed};
use crate::{reply, scripts};

#[derive(Debug)]
pub(crate) struct RedisCache(pub(crate) Arc<Shared>);

impl RedisCache {
    fn key(&self, key: &Key) -> String {
        self.0.layout.key(key)
    }

    fn checked(&self, call: Call, check: impl FnOnce(CacheCapabilities) -> Result<()>) -> Result<()> {
        check(self.0.cache_capabilities).map_err(|error| call.named(error))
    }
}

fn set(key: &str, value: &[u8], ttl: Ttl) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg(key).arg(value).arg("PX").arg(ttl.as_millis());
    command
}

#[async_trait]
impl CacheStore for RedisCache {
    fn capabilities(&self) -> CacheCapabilities {
        self.0.cache_capabilities
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        let call = Call::read("cache.get");
        let key = self.key(key);
        let mut command = redis::cmd("GET");
        command.arg(&key);
        let value = self.0.link.command(call, &key, command).await?;
        reply::maybe_bytes(value).ok_or_else(|| call.unexpected())
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        let call = Call::read("cache.get_many");
        self.checked(call, |can| can.check_batch(keys.len()))?;
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        // One `GET` each, not `MGET`: that takes a list at a key for nothing, and the keys of one slot only.
        let commands = keys.iter().map(|key| {
            let key = self.key(key);
            let mut command = redis::cmd("GET");
            command.arg(&key);
            Routed::new(&key, command)
        });
        let replies = self.0.link.batch(call, commands.collect()).await?;
        let values = call.all(replies)?.into_iter();
        values.map(|value| reply::maybe_bytes(value).ok_or_else(|| call.unexpected())).collect()
    }

    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let call = Call::write("cache.set");
        self.checked(call, |can| can.check_value(value.len()))?;
        let key = self.key(key);
        let ttl = options.ttl.as_millis().to_string();
        let (condition, expected): (&[u8], &[u8]) = match &options.when {
            When::Always => {
                let stored = self.0.link.command(call, &key, set(&key, &value, options.ttl)).await?;
                return if stored == Value::Okay { Ok(SetOutcome::Stored) } else { Err(call.unexpected()) };
            }
            // Not `SET NX` and `SET XX`: those take a list at the key for a value.
            When::Absent => (b"absent", b""),
            When::Present => (b"present", b""),
            When::Equals(expected) => (b"equals", expected),
            other => {
                return Err(call.named(Error::unsupported(format!("the condition {other:?} is not known"))));
            }
        };
        let args: [&[u8]; 4] = [condition, &value, ttl.as_bytes(), expected];
        let stored = self.0.link.script(call, &scripts::CACHE_SET_IF, &[&key], &args).await?;
        match reply::integer(stored) {
            Some(1) => Ok(SetOutcome::Stored),
            Some(0) => Ok(SetOutcome::NotStored),
            _ => Err(call.unexpected()),
        }
    }

    async fn set_many(&self, entries: &[(Key, Bytes)], ttl: Ttl) -> Result<()> {
        let call = Call::write("cache.set_many");
        self.checked(call, |can| {
            can.check_batch(entries.len())?;
            entries.iter().try_for_each(|(_, value)| can.check_value(value.len()))
        })?;
        let commands = entries.iter().map(|(key, value)| {
            let key = self.key(key);
            Routed::new(&key, set(&key, value, ttl))
        });
        let replies = self.0.link.batch(call, commands.collect()).await?;
        call.all(replies).map(drop)
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        let call = Call::write("cache.remove_many");
        self.checked(call, |can| can.check_batch(keys.len()))?;
        let distinct: HashSet<_> = keys.iter().collect();
        let commands = distinct.into_iter().map(|key| {
            let key = self.key(key);
            // Frees large values in the background.
            let mut command = redis::cmd("UNLINK");
            command.arg(&key);
            Routed::new(&key, command)
        });
        let replies = self.0.link.batch(call, commands.collect()).await?;
        let removed = call.all(replies)?.into_iter();
        removed.map(|count| reply::count(count).ok_or_else(|| call.unexpected())).sum()
    }

    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        let call = Call::write("cache.add");
        let key = self.key(key);
        let (delta, ttl) = (delta.to_string(), ttl.as_millis().to_string());
        let args = [delta.as_bytes(), ttl.as_bytes()];
        let sum = self.0.link.script(call, &scripts::CACHE_ADD, &[&key], &args).await?;
        reply::integer(sum).ok_or_else(|| call.unexpected())
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        let call = Call::write("cache.touch");
        let key = self.key(key);
        let ttl = ttl.as_millis().to_string();
        let touched = self.0.link.script(call, &scripts::CACHE_TOUCH, &[&key], &[ttl.as_bytes()]).await?;
        reply::count(touched).map(|n| n > 0).ok_or_else(|| call.unexpected())
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        let call = Call::read("cache.ttl");
        let key = self.key(key);
        let left = self.0.link.script(call, &scripts::CACHE_TTL, &[&key], &[]).await?;
        match reply::integer(left).ok_or_else(|| call.unexpected())? {
            -2 => Ok(None),
            // Somebody else's key without an expiry lives as long as anything can.
            -1 => Ok(Some(Ttl::MAX)),
            millis => Ttl::from_millis(millis.max(1)).map(Some),
        }
    }
}
