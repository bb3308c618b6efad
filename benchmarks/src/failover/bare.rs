//! The `redis` crate: its Cluster connection as it comes, and its sentinel client.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::cluster::ClusterClient;
use redis::cluster_async::ClusterConnection;
use redis::sentinel::{SentinelClient, SentinelServerType};
use redis::{AsyncCommands, RedisResult};
use stanchion_conformance::servers::{Cluster, Sentinel};
use tokio::sync::Mutex;

use super::Failure;
use super::deployment::{Deployment, TTL};
use super::load::Side;

#[derive(Clone)]
pub(super) struct Bare {
    client: Client,
    keys: Arc<[usize]>,
}

#[derive(Clone)]
enum Client {
    Cluster(ClusterConnection),
    Sentinel(Arc<Mutex<Found>>),
}

/// The sentinel client makes connections and keeps none: whoever uses it asks for another one when a call has failed.
struct Found {
    client: SentinelClient,
    connection: Option<MultiplexedConnection>,
    // How many there have been.
    generation: u64,
}

fn key_of(number: usize) -> String {
    format!("redis:failover:{number}")
}

impl Bare {
    pub(super) async fn on(deployment: &Deployment) -> Result<Self, Failure> {
        let client = match deployment {
            Deployment::Cluster(cluster) => Client::Cluster(on_cluster(cluster).await?),
            Deployment::Sentinel(sentinel) => {
                let client = on_sentinels(sentinel)?;
                Client::Sentinel(Arc::new(Mutex::new(Found { client, connection: None, generation: 0 })))
            }
        };
        Ok(Self { client, keys: deployment.keys(key_of).await?.into() })
    }
}

async fn on_cluster(cluster: &Cluster) -> Result<ClusterConnection, Failure> {
    Ok(ClusterClient::new(cluster.urls())?.get_async_connection().await?)
}

fn on_sentinels(sentinel: &Sentinel) -> RedisResult<SentinelClient> {
    let name = sentinel.name().to_owned();
    SentinelClient::build(sentinel.urls(), name, None, SentinelServerType::Master)
}

impl Found {
    async fn connection(&mut self) -> RedisResult<(MultiplexedConnection, u64)> {
        if let Some(connection) = &self.connection {
            return Ok((connection.clone(), self.generation));
        }
        let connection = self.client.get_async_connection().await?;
        self.generation += 1;
        self.connection = Some(connection.clone());
        Ok((connection, self.generation))
    }

    fn leave(&mut self, generation: u64) {
        if self.generation == generation {
            self.connection = None;
        }
    }
}

impl Side for Bare {
    async fn write(&self, number: usize) -> Result<(), Failure> {
        let key = key_of(self.keys[number % self.keys.len()]);
        let (value, ttl) = (u64::try_from(number)?, u64::try_from(TTL.as_millis())?);
        match &self.client {
            Client::Cluster(connection) => Ok(connection.clone().pset_ex(key, value, ttl).await?),
            Client::Sentinel(found) => {
                let (mut connection, generation) = found.lock().await.connection().await?;
                let written: RedisResult<()> = connection.pset_ex(key, value, ttl).await;
                if written.is_err() {
                    found.lock().await.leave(generation);
                }
                Ok(written?)
            }
        }
    }
}
