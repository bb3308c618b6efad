//! The commands of the cache.

use std::borrow::Cow;
use std::time::Duration;

use redis::Cmd;
use stanchion::cache::{Fill, LeaseRequest, Release, SetOptions, Tag, Want, When};
use stanchion::key::Key;
use stanchion::time::{Ttl, days};
use stanchion::{Error, Result};

use crate::command::{Part, Routed, Script, Step};
use crate::config::Invalidation;
use crate::keys::{Layout, namespace_of};
use crate::scripts;

/// How long a generation is remembered. Later ones are greater all the same, since they are made of the time.
const GENERATION_KEPT: Duration = days(30);

/// Refuses a condition of a later version of the trait.
pub(super) fn check_condition(when: &When) -> Result<()> {
    condition(when).map(drop)
}

/// The condition, and the bytes that are expected.
fn condition(when: &When) -> Result<(&'static [u8], &[u8])> {
    match when {
        When::Always => Ok((b"always", b"")),
        When::Absent => Ok((b"absent", b"")),
        When::Present => Ok((b"present", b"")),
        When::Equals(expected) => Ok((b"equals", expected)),
        other => Err(Error::unsupported(format!("the condition {other:?} is not known"))),
    }
}

/// When a lease is wanted; refuses what a later version of the trait may add.
pub(super) fn wanted(want: Want) -> Result<&'static [u8]> {
    match want {
        Want::IfAbsent => Ok(b"absent"),
        Want::Anyway => Ok(b"anyway"),
        Want::Keep => Ok(b"keep"),
        other => Err(Error::unsupported(format!("a lease wanted {other:?} is not known"))),
    }
}

/// Builds the commands of the cache.
#[derive(Debug)]
pub(super) struct CacheCommands {
    layout: Layout,
    invalidation: Invalidation,
}

impl CacheCommands {
    pub(super) fn new(layout: &Layout, invalidation: Invalidation) -> Self {
        Self { layout: layout.clone(), invalidation }
    }

    /// The channel on which a change of this key is published, empty where the server tracks it by itself.
    fn channel(&self, key: &Key) -> String {
        match self.invalidation {
            Invalidation::Tracking => String::new(),
            Invalidation::Bus => self.layout.invalidated(namespace_of(key.as_str()).unwrap_or_default()),
        }
    }

    /// The stored key of an entry and of the lease on it.
    fn keys<'a>(&self, key: &'a Key) -> (Cow<'a, str>, String) {
        let entry = self.layout.key(key);
        let lease = Layout::lease(&entry);
        (entry, lease)
    }

    /// A script on an entry and its lease, or on one of the two.
    fn on(&self, script: &Script, key: &Key, step: Step, args: &[&[u8]]) -> Routed {
        let (entry, lease) = self.keys(key);
        match step.part {
            Part::Both => script.routed(step.form, &[&entry, &lease], args),
            Part::Entry => script.routed(step.form, &[&entry], args),
            Part::Lease => {
                let mut command = Cmd::with_capacity(2, lease.len() + 6);
                command.arg("UNLINK").arg(&lease);
                Routed::new(&lease, command)
            }
        }
    }

    pub(super) fn get(&self, key: &Key) -> Routed {
        Routed::get(&self.layout.key(key))
    }

    pub(super) fn get_with_ttl(&self, key: &Key, step: Step) -> Routed {
        scripts::CACHE_READ.routed(step.form, &[&self.layout.key(key)], &[])
    }

    pub(super) fn set(&self, key: &Key, value: &[u8], options: &SetOptions, step: Step) -> Routed {
        let channel = self.channel(key);
        // What is not known was refused before.
        let (condition, expected) = condition(&options.when).unwrap_or((b"absent", b""));
        let (ttl, schema) = (options.ttl.as_millis().to_string(), options.schema.to_string());
        let args = [condition, value, ttl.as_bytes(), schema.as_bytes(), channel.as_bytes(), expected];
        let used = if expected.is_empty() && options.when == When::Always { 5 } else { 6 };
        self.on(&scripts::CACHE_SET, key, step, &args[..used])
    }

    pub(super) fn remove(&self, key: &Key, step: Step) -> Routed {
        self.on(&scripts::CACHE_REMOVE, key, step, &[self.channel(key).as_bytes()])
    }

    pub(super) fn add(&self, key: &Key, delta: i64, ttl: Ttl, step: Step) -> Routed {
        let channel = self.channel(key);
        let (delta, ttl) = (delta.to_string(), ttl.as_millis().to_string());
        let args = [delta.as_bytes(), ttl.as_bytes(), channel.as_bytes()];
        self.on(&scripts::CACHE_ADD, key, step, &args)
    }

    pub(super) fn touch(&self, key: &Key, ttl: Ttl, step: Step) -> Routed {
        let (ttl, channel) = (ttl.as_millis().to_string(), self.channel(key));
        let args = [ttl.as_bytes(), channel.as_bytes()];
        scripts::CACHE_TOUCH.routed(step.form, &[&self.layout.key(key)], &args)
    }

    pub(super) fn ttl(&self, key: &Key, step: Step) -> Routed {
        scripts::CACHE_TTL.routed(step.form, &[&self.layout.key(key)], &[])
    }

    pub(super) fn fetch(&self, request: &LeaseRequest, step: Step) -> Routed {
        let (entry, lease) = self.keys(&request.key);
        let (token, life) = (request.token.to_hex(), request.lease.as_millis().to_string());
        // What is not known was refused before.
        let wanted = wanted(request.want).unwrap_or(b"absent");
        let despite: &[u8] = if request.despite_failure { b"despite" } else { b"" };
        let args = [token.as_bytes(), life.as_bytes(), wanted, despite];
        scripts::CACHE_FETCH.routed(step.form, &[&entry, &lease], &args)
    }

    pub(super) fn fill(&self, fill: &Fill, step: Step) -> Routed {
        let ((entry, lease), channel) = (self.keys(&fill.key), self.channel(&fill.key));
        let (token, ttl) = (fill.token.to_hex(), fill.ttl.as_millis().to_string());
        let args = [token.as_bytes(), &fill.value[..], ttl.as_bytes(), channel.as_bytes()];
        scripts::CACHE_FILL.routed(step.form, &[&entry, &lease], &args)
    }

    pub(super) fn release(&self, release: &Release, step: Step) -> Routed {
        let ((entry, lease), channel) = (self.keys(&release.key), self.channel(&release.key));
        let failed = release.failed.map(|remembered| remembered.as_millis().to_string()).unwrap_or_default();
        let token = release.token.to_hex();
        let args = [token.as_bytes(), failed.as_bytes(), channel.as_bytes()];
        scripts::CACHE_RELEASE.routed(step.form, &[&entry, &lease], &args)
    }

    pub(super) fn generation(&self, tag: &Tag, step: Step) -> Routed {
        self.on_tag(&scripts::CACHE_GENERATION, tag, step)
    }

    pub(super) fn bump(&self, tag: &Tag, step: Step) -> Routed {
        self.on_tag(&scripts::CACHE_BUMP, tag, step)
    }

    /// Reads one of the copies of a generation.
    pub(super) fn read_copy(&self, tag: &Tag, copy: usize, step: Step) -> Routed {
        scripts::CACHE_GENERATION_READ.routed(step.form, &[&self.layout.copy(tag.key(), copy)], &[])
    }

    /// Raises one of the copies of a generation to the last of these numbers, if it is less than the first.
    pub(super) fn raise_copy(&self, tag: &Tag, copy: usize, first: u64, last: u64, step: Step) -> Routed {
        let (first, last) = (first.to_string(), last.to_string());
        let (kept, channel) = (GENERATION_KEPT.as_millis().to_string(), self.channel(tag.key()));
        let args = [first.as_bytes(), last.as_bytes(), kept.as_bytes(), channel.as_bytes()];
        scripts::CACHE_GENERATION_RAISE.routed(step.form, &[&self.layout.copy(tag.key(), copy)], &args)
    }

    fn on_tag(&self, script: &Script, tag: &Tag, step: Step) -> Routed {
        let (kept, channel) = (GENERATION_KEPT.as_millis().to_string(), self.channel(tag.key()));
        let args = [kept.as_bytes(), channel.as_bytes()];
        script.routed(step.form, &[&self.layout.key(tag.key())], &args)
    }
}
