//! `Cache::set`.

use std::sync::Arc;

use stanchion::cache::Cache;
use stanchion_redis::RedisBackend;

use super::Failure;
use super::deployment::{Deployment, TTL};
use super::load::{LIMIT, Side};

#[derive(Clone)]
pub(super) struct Ours {
    cache: Cache<u64>,
    keys: Arc<[usize]>,
}

impl Ours {
    pub(super) async fn on(deployment: &Deployment) -> Result<Self, Failure> {
        let stores = RedisBackend::connect(deployment.config()?).await?.stores();
        let cache = stores.cache("failover").ttl(TTL).store_deadline(LIMIT).build()?;
        let keys = deployment.keys(|number| format!("cache:failover:{number}")).await?;
        Ok(Self { cache, keys: keys.into() })
    }
}

impl Side for Ours {
    async fn write(&self, number: usize) -> Result<(), Failure> {
        let key = self.keys[number % self.keys.len()];
        Ok(self.cache.set(key, &u64::try_from(number)?).await?)
    }
}
