//! A server of either kind, and backends on it.

use std::time::Duration;

use stanchion::stores::Stores;
use stanchion_conformance::servers::{Cluster, Proxy, RedisProcess};
use stanchion_redis::{Invalidation, RedisBackend, RedisConfig};

use crate::Failure;

/// One Redis, or a Cluster of three masters.
pub(crate) enum Server {
    Standalone(Box<RedisProcess>),
    Cluster(Cluster),
}

impl Server {
    pub(crate) async fn standalone() -> Result<Self, Failure> {
        Ok(Self::Standalone(Box::new(RedisProcess::start().await?)))
    }

    pub(crate) async fn cluster() -> Result<Self, Failure> {
        Ok(Self::Cluster(Cluster::start().await?))
    }

    /// The same with a proxy in front of each node.
    pub(crate) async fn standalone_behind_proxy() -> Result<(Self, Vec<Proxy>), Failure> {
        let server = RedisProcess::start().await?;
        let proxy = Proxy::start(server.addr()).await?;
        Ok((Self::Standalone(Box::new(server)), vec![proxy]))
    }

    /// The same with a proxy in front of each node.
    pub(crate) async fn cluster_behind_proxies() -> Result<(Self, Vec<Proxy>), Failure> {
        let (cluster, proxies) = Cluster::start_behind_proxies().await?;
        Ok((Self::Cluster(cluster), proxies))
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Standalone(_) => "standalone",
            Self::Cluster(_) => "Cluster of 3 masters",
        }
    }

    pub(crate) fn nodes(&self) -> &[RedisProcess] {
        match self {
            Self::Standalone(server) => std::slice::from_ref(server),
            Self::Cluster(cluster) => cluster.nodes(),
        }
    }

    pub(crate) async fn version(&self) -> Result<String, Failure> {
        Ok(self.nodes()[0].version().await?)
    }

    /// The settings that reach it, through these proxies if there are any.
    pub(crate) fn config(&self, proxies: &[Proxy]) -> Result<RedisConfig, Failure> {
        Ok(match self {
            Self::Standalone(server) => {
                RedisConfig::standalone(&proxies.first().map_or_else(|| server.url(), Proxy::url))?
            }
            // Its nodes announce the proxies.
            Self::Cluster(cluster) => RedisConfig::cluster(cluster.urls().iter().map(String::as_str))?,
        })
    }

    /// Stores on connections of their own, as another process would have them. They wait as long as this for an
    /// answer.
    pub(crate) async fn stores(&self, patience: Duration, told: Invalidation) -> Result<Stores, Failure> {
        let config = self.config(&[])?.deadline(patience).cache_deadline(patience).invalidation(told);
        // Another deployment, which may be set up in another way.
        let config = if told == Invalidation::Bus { config.prefix("bus")? } else { config };
        Ok(RedisBackend::connect(config).await?.stores())
    }
}
