//! `Cache` with a near cache, and a second `Cache` without one that writes.

use std::future::ready;
use std::time::Duration;

use stanchion::cache::Cache;
use stanchion::stores::Stores;
use stanchion_conformance::servers::{ServerError, until};
use stanchion_memory::MokaNear;
use stanchion_redis::Invalidation;

use super::{KEYS, PATIENCE, Racer};
use crate::Failure;
use crate::server::Server;

/// So many that each master has one, beyond any doubt.
const MARKERS: usize = 64;

#[derive(Clone)]
pub(crate) struct Ours {
    reader: Cache<u64>,
    writer: Cache<u64>,
}

impl Ours {
    pub(super) async fn on(server: &Server, told: Invalidation) -> Result<Self, Failure> {
        Self::between(&server.stores(PATIENCE, told).await?, &server.stores(PATIENCE, told).await?).await
    }

    pub(crate) async fn between(reader: &Stores, writer: &Stores) -> Result<Self, Failure> {
        let build = |stores: &Stores| {
            stores.cache::<u64>("race").ttl(Duration::from_hours(1)).store_deadline(PATIENCE)
        };
        let reader = build(reader).near(MokaNear::entries(100_000)).build()?;
        let writer = build(writer).build()?;
        let ours = Self { reader, writer };
        // The feed is up before it begins.
        ours.quiet().await?;
        Ok(ours)
    }

    /// The marker is in the near cache.
    async fn is_near(&self, marker: &str) -> Result<u64, String> {
        match (self.reader.get(marker).await, self.reader.peek(marker)) {
            (Ok(_), Some(version)) => Ok(*version),
            (answer, _) => Err(format!("{marker} is not near: {answer:?}")),
        }
    }

    fn is_told(&self, marker: &str, version: u64) -> Result<(), String> {
        match self.reader.peek(marker) {
            Some(near) if *near != version => Err(format!("the news of {marker} has not come")),
            _ => Ok(()),
        }
    }
}

fn failed(error: impl std::fmt::Display) -> String {
    error.to_string()
}

impl Racer for Ours {
    async fn read(&self, key: usize) -> Result<(), Failure> {
        self.reader.get(key).await?;
        Ok(())
    }

    async fn write(&self, key: usize, version: u64) -> Result<(), Failure> {
        Ok(self.writer.set(key, &version).await?)
    }

    async fn quiet(&self) -> Result<(), ServerError> {
        // Twice: of what one event of the feed says, all was carried out before the next one came.
        for _ in 0..2 {
            for marker in 0..MARKERS {
                let marker = format!("marker-{marker}");
                let next = async || {
                    let version = self.writer.get(&marker).await.map_err(failed)?.map_or(0, |found| *found);
                    self.writer.set(&marker, &(version + 1)).await.map_err(failed).map(|()| version + 1)
                };
                until("a first write", PATIENCE, next).await?;
                until("a near copy", PATIENCE, || self.is_near(&marker)).await?;
                let version = until("a write", PATIENCE, next).await?;
                until("the news of it", PATIENCE, || ready(self.is_told(&marker, version))).await?;
            }
        }
        Ok(())
    }

    fn copies(&self) -> usize {
        (0..KEYS).filter(|key| self.reader.peek(*key).is_some()).count()
    }

    async fn stale(&self, key: usize) -> Result<Option<bool>, Failure> {
        let Some(near) = self.reader.peek(key) else {
            return Ok(None);
        };
        // The writer's cache keeps nothing near.
        let stored = self.writer.get(key).await?;
        Ok(Some(stored != Some(near)))
    }
}
