//! `Cache::set`.

use std::sync::Arc;

use stanchion::cache::Cache;
use stanchion_conformance::servers::Cluster;
use stanchion_redis::{RedisBackend, RedisConfig};

use super::Failure;
use super::fault::{TTL, keys};
use super::load::{LIMIT, Side};

#[derive(Clone)]
pub(super) struct Ours {
    cache: Cache<u64>,
    keys: Arc<[usize]>,
}

impl Ours {
    pub(super) async fn on(cluster: &Cluster) -> Result<Self, Failure> {
        let stores = RedisBackend::connect(config(cluster)?).await?.stores();
        let cache = stores.cache("failover").ttl(TTL).store_deadline(LIMIT).build()?;
        let keys = keys(cluster, |number| format!("cache:failover:{number}")).await?;
        Ok(Self { cache, keys: keys.into() })
    }
}

pub(super) fn config(cluster: &Cluster) -> Result<RedisConfig, Failure> {
    let urls = cluster.urls();
    Ok(RedisConfig::cluster(urls.iter().map(String::as_str))?.deadline(LIMIT).cache_deadline(LIMIT))
}

impl Side for Ours {
    async fn write(&self, number: usize) -> Result<(), Failure> {
        let key = self.keys[number % self.keys.len()];
        Ok(self.cache.set(key, &u64::try_from(number)?).await?)
    }
}
