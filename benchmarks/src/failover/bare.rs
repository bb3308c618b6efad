//! The Cluster connection of the `redis` crate, as it comes.

use std::sync::Arc;

use redis::AsyncCommands;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use stanchion_conformance::servers::Cluster;

use super::Failure;
use super::fault::{TTL, keys};
use super::load::Side;

#[derive(Clone)]
pub(super) struct Bare {
    connection: ClusterConnection,
    keys: Arc<[usize]>,
}

fn key_of(number: usize) -> String {
    format!("redis:failover:{number}")
}

impl Bare {
    pub(super) async fn on(cluster: &Cluster) -> Result<Self, Failure> {
        let connection = ClusterClient::new(cluster.urls())?.get_async_connection().await?;
        Ok(Self { connection, keys: keys(cluster, key_of).await?.into() })
    }
}

impl Side for Bare {
    async fn write(&self, number: usize) -> Result<(), Failure> {
        let key = key_of(self.keys[number % self.keys.len()]);
        let value = u64::try_from(number)?;
        Ok(self.connection.clone().pset_ex(key, value, u64::try_from(TTL.as_millis())?).await?)
    }
}
