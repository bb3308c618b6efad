//! The client-side cache of the `redis` crate.

use redis::AsyncCommands;
use redis::aio::MultiplexedConnection;
use redis::caching::CacheConfig;
use stanchion_conformance::servers::{ServerError, until};

use super::{KEYS, PATIENCE, Racer};
use crate::Failure;
use crate::peers::bare_connection;

#[derive(Clone)]
pub(super) struct Peer {
    reader: MultiplexedConnection,
    writer: MultiplexedConnection,
}

impl Peer {
    pub(super) async fn on(url: &str) -> Result<Self, Failure> {
        let client = redis::Client::open(format!("{url}/?protocol=resp3"))?;
        let size = std::num::NonZeroUsize::new(10 * KEYS).ok_or("no size")?;
        let config = redis::AsyncConnectionConfig::new()
            .set_response_timeout(None)
            .set_cache_config(CacheConfig::new().set_size(size));
        let reader = client.get_multiplexed_async_connection_with_config(&config).await?;
        Ok(Self { reader, writer: bare_connection(url).await? })
    }

    async fn marked(&self, version: u64) -> Result<(), String> {
        let seen: Result<Option<u64>, _> = self.reader.clone().get("bare:marker").await;
        if matches!(seen, Ok(Some(seen)) if seen == version) {
            Ok(())
        } else {
            Err(format!("the marker is {seen:?}"))
        }
    }
}

impl Racer for Peer {
    async fn read(&self, key: usize) -> Result<(), Failure> {
        let _: Option<u64> = self.reader.clone().get(format!("bare:{key}")).await?;
        Ok(())
    }

    async fn write(&self, key: usize, version: u64) -> Result<(), Failure> {
        Ok(self.writer.clone().pset_ex(format!("bare:{key}"), version, 3_600_000).await?)
    }

    async fn quiet(&self) -> Result<(), ServerError> {
        for version in 0..2_u64 {
            let write = || async { self.writer.clone().set::<_, _, ()>("bare:marker", version).await };
            until("a write", PATIENCE, write).await?;
            until("the news of it", PATIENCE, || self.marked(version)).await?;
        }
        Ok(())
    }

    fn copies(&self) -> usize {
        // It can't tell without reading.
        KEYS
    }

    async fn stale(&self, key: usize) -> Result<Option<bool>, Failure> {
        // A key that is not cached is read from Redis, and is not stale.
        let near: Option<u64> = self.reader.clone().get(format!("bare:{key}")).await?;
        let stored: Option<u64> = self.writer.clone().get(format!("bare:{key}")).await?;
        Ok(Some(near != stored))
    }
}
