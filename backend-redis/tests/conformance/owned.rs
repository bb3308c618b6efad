//! A Redis of one case's own, behind proxies that break the links.

use std::time::Duration;

use stanchion::Result;
use stanchion::stores::Stores;
use stanchion_conformance::servers::{Cluster, ClusterSetup, Proxy, RedisProcess, ServerError, until};
use stanchion_conformance::{OwnedServer, Place, Unavailable};

use crate::access::{Access, DEADLINE};
use crate::acl::AclFile;
use crate::found::unavailable;
use crate::kind::Kind;

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
    /// A server of this kind, without TLS.
    pub(super) async fn start(kind: Kind, acl: &AclFile) -> Result<Self, Unavailable> {
        let broken = |error: ServerError| unavailable(error.into());
        let cluster = match kind {
            Kind::Cluster => Some(ClusterSetup::new()),
            Kind::Replicas => Some(Cluster::with_replicas()),
            _ => None,
        };
        let (servers, proxies) = if let Some(setup) = cluster {
            let (cluster, proxies) = setup.start_behind_proxies().await.map_err(broken)?;
            (Servers::Cluster(cluster), proxies)
        } else {
            let server = match kind {
                Kind::Acl => acl.start().await.map_err(unavailable)?,
                _ => RedisProcess::start().await.map_err(broken)?,
            };
            let proxy = Proxy::start(server.addr()).await.map_err(broken)?;
            (Servers::One(server), vec![proxy])
        };
        Ok(Self { access: Access::plain(kind), proxies, _servers: servers })
    }
}

#[async_trait::async_trait]
impl OwnedServer for Owned {
    async fn open(&self, place: &Place) -> Result<Stores> {
        let urls: Vec<_> = self.proxies.iter().map(Proxy::url).collect();
        self.access.open(&urls, place).await
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
