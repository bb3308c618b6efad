//! fred's client.

use std::sync::Arc;

use fred::clients::Client;
use fred::interfaces::{ClientLike, KeysInterface};
use fred::types::config::{Config, ReconnectPolicy, ServerConfig};
use fred::types::{Builder, Expiration};

use super::Failure;
use super::deployment::{Deployment, TTL};
use super::load::Side;

/// Milliseconds between its attempts to reconnect; without a policy it does not.
const RECONNECT: u32 = 100;

#[derive(Clone)]
pub(super) struct Fred {
    client: Client,
    keys: Arc<[usize]>,
}

fn key_of(number: usize) -> String {
    format!("fred:failover:{number}")
}

impl Fred {
    pub(super) async fn on(deployment: &Deployment) -> Result<Self, Failure> {
        let hosts = deployment.addresses().iter().map(|addr| (addr.ip().to_string(), addr.port())).collect();
        let server = match deployment {
            Deployment::Cluster(_) => ServerConfig::new_clustered(hosts),
            Deployment::Sentinel(sentinel) => ServerConfig::new_sentinel(hosts, sentinel.name()),
        };
        let client = Builder::from_config(Config { server, ..Config::default() })
            .set_policy(ReconnectPolicy::new_constant(0, RECONNECT))
            .with_connection_config(|config| config.tcp.nodelay = Some(true))
            .build()?;
        let _connection = client.init().await?;
        Ok(Self { client, keys: deployment.keys(key_of).await?.into() })
    }
}

impl Side for Fred {
    async fn write(&self, number: usize) -> Result<(), Failure> {
        let key = key_of(self.keys[number % self.keys.len()]);
        let expiry = Some(Expiration::PX(i64::try_from(TTL.as_millis())?));
        let _: () = self.client.set(key, number.to_string(), expiry, None, false).await?;
        Ok(())
    }
}
