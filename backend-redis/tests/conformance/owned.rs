//! A Redis of one case's own, behind proxies that break the links.

use std::time::Duration;

use stanchion::Result;
use stanchion::stores::Stores;
use stanchion_conformance::servers::{Cluster, Proxy, RedisProcess, ServerError, Topology, until};
use stanchion_conformance::{OwnedServer, Place, Unavailable};

use crate::{Access, DEADLINE, Redis};

/// The process stays, so that it keeps what it has: being away is a matter of the links.
pub(super) struct Owned {
    access: Access,
    proxies: Vec<Proxy>,
    _servers: Servers,
}

#[expect(dead_code, reason = "held for their end")]
enum Servers {
    One(RedisProcess),
    Cluster(Cluster),
}

impl Owned {
    pub(super) async fn start(redis: &Redis) -> Result<Self, Unavailable> {
        let broken = |error: ServerError| Unavailable { reason: error.to_string(), fatal: true };
        let (servers, proxies) = match (redis.topology, &redis.acl) {
            (Topology::Cluster, _) => {
                let (cluster, proxies) = Cluster::start_behind_proxies().await.map_err(broken)?;
                (Servers::Cluster(cluster), proxies)
            }
            (Topology::Standalone, acl) => {
                let started = match acl {
                    Some(acl) => acl.start().await,
                    None => RedisProcess::start().await.map_err(Into::into),
                };
                let server =
                    started.map_err(|absent| Unavailable { reason: absent.message, fatal: absent.fatal })?;
                let proxy = Proxy::start(server.addr()).await.map_err(broken)?;
                (Servers::One(server), vec![proxy])
            }
        };
        Ok(Self { access: redis.access(), proxies, _servers: servers })
    }
}

#[async_trait::async_trait]
impl OwnedServer for Owned {
    async fn open(&self, place: &Place) -> Result<Stores> {
        self.access.open(self.proxies.iter().map(Proxy::url).collect(), place).await
    }

    fn deadline(&self) -> Duration {
        DEADLINE
    }

    async fn stop(&self) -> Result<(), Unavailable> {
        for proxy in &self.proxies {
            proxy.refuse().await;
            proxy.cut();
            let closed = || async { if proxy.open_connections() == 0 { Ok(()) } else { Err("one is open") } };
            // A link that stays open fails the case: the server answers.
            let _ = until("every link is cut", DEADLINE, closed).await;
        }
        Ok(())
    }

    async fn start(&self) -> Result<(), Unavailable> {
        for proxy in &self.proxies {
            proxy.accept().await;
        }
        Ok(())
    }

    async fn lose_reply_to(&self, text: &str) -> Result<(), Unavailable> {
        // Of the masters of a Cluster one gets the request, and nobody knows which.
        for proxy in &self.proxies {
            proxy.drop_next_reply_to(text);
        }
        Ok(())
    }
}
