//! What is behind the façades. No other file names a backend.

use stanchion::prelude::*;
use stanchion_memory::MemoryBackend;
use stanchion_redis::{IntoRedisConfig, RedisBackend};

/// Stores for two services in this process: two handles on the same memory act as two processes on one Redis.
pub(crate) fn on_memory() -> (Stores, Stores) {
    let memory = MemoryBackend::new();
    (memory.stores(), memory.handle().stores())
}

/// Stores on a Redis or a Cluster. The prefix keeps this deployment apart from others on the same server.
pub(crate) async fn on_redis(url: &str, prefix: &str) -> stanchion::Result<Stores> {
    let config = url.into_redis_config()?.prefix(prefix)?;
    Ok(RedisBackend::connect(config).await?.stores())
}
