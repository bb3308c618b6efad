//! The conformance suite on a real Redis: standalone (an address, a container or a process), standalone as a user
//! with the rights of `acl/service.acl`, and Cluster.

mod acl;
mod owned;
mod stored;

use std::time::Duration;

use stanchion::Result;
use stanchion::stores::Stores;
use stanchion_conformance::servers::{RedisServer, Topology};
use stanchion_conformance::{Harness, Offers, OwnedServer, Place, Stepped, Time, Unavailable, WallStep};
use stanchion_redis::{RedisBackend, RedisConfig};
use tokio::sync::OnceCell;

use self::acl::AclFile;
use self::owned::Owned;

/// Where a child process finds the server of its parent, whichever way that was found.
const CHILD_URLS: &str = "STANCHION_CHILD_URLS";

/// How long a call may take: on a busy machine too, healthy ones end long before.
const DEADLINE: Duration = Duration::from_secs(10);

/// How to connect.
#[derive(Clone, Copy)]
struct Access {
    topology: Topology,
    as_user: bool,
}

impl Access {
    async fn open(self, urls: Vec<String>, place: &Place) -> Result<Stores> {
        let urls: Vec<_> =
            urls.into_iter().map(|url| if self.as_user { acl::with_user(&url) } else { url }).collect();
        let config = match self.topology {
            Topology::Cluster => RedisConfig::cluster(urls.iter().map(String::as_str))?,
            Topology::Standalone => RedisConfig::standalone(urls.first().map_or("", String::as_str))?,
        };
        let config = config.deadline(DEADLINE).cache_deadline(DEADLINE).prefix(place.prefix())?;
        Ok(RedisBackend::connect(config).await?.stores())
    }
}

struct Redis {
    name: &'static str,
    topology: Topology,
    // With it, the server is a process that knows this user, and no other.
    acl: Option<AclFile>,
    server: OnceCell<RedisServer>,
}

impl Redis {
    fn on(topology: Topology) -> Self {
        // The report lists each way of running a server by itself.
        let required = std::env::var("STANCHION_REQUIRE").unwrap_or_default();
        let name = match (topology, required.as_str()) {
            (Topology::Cluster, _) => "redis-cluster",
            (_, "container") => "redis-container",
            _ => "redis",
        };
        Self { name, topology, acl: None, server: OnceCell::new() }
    }

    fn under_acl() -> Self {
        let acl = Some(AclFile::for_places());
        Self { name: "redis-acl", acl, ..Self::on(Topology::Standalone) }
    }

    /// Starts or finds the server.
    async fn find(&self) -> Result<RedisServer, Unavailable> {
        let found = match &self.acl {
            Some(acl) => acl.start().await.map(RedisServer::Process),
            None => RedisServer::find(self.topology).await,
        };
        found.map_err(|absent| Unavailable { reason: absent.message, fatal: absent.fatal })
    }

    /// How to connect to a server of this kind.
    fn access(&self) -> Access {
        Access { topology: self.topology, as_user: self.acl.is_some() }
    }
}

#[async_trait::async_trait]
impl Harness for Redis {
    fn name(&self) -> &str {
        self.name
    }

    fn offers(&self) -> Offers {
        Offers::all()
    }

    fn time(&self) -> Time {
        Time::Real
    }

    async fn prepare(&self) -> Result<(), Unavailable> {
        if let Ok(urls) = std::env::var(CHILD_URLS) {
            let urls = urls.split(',').map(ToOwned::to_owned).collect();
            self.server.get_or_init(|| async { RedisServer::Url(urls) }).await;
        }
        self.server.get_or_try_init(|| self.find()).await.map(drop)
    }

    async fn open(&self, place: &Place) -> Result<Stores> {
        let urls = self.server.get().map(RedisServer::urls).unwrap_or_default();
        self.access().open(urls, place).await
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the server's clock can't be driven: its time really passes"
    )]
    async fn advance(&self, _place: &Place, by: Duration) {
        tokio::time::sleep(by).await;
    }

    async fn step_wall_clock(&self, place: &Place, step: WallStep) -> Result<Stepped, Unavailable> {
        let mut urls = self.server.get().map(RedisServer::urls).unwrap_or_default();
        if self.acl.is_some() {
            urls = urls.iter().map(|url| acl::with_operator(url)).collect();
        }
        let moved = stored::step(self.topology, &urls, place.prefix(), step).await;
        moved.map_err(|error| Unavailable::broken("what is stored can't be moved in time", &error))?;
        Ok(Stepped::Stored)
    }

    fn child_environment(&self) -> Option<Vec<(String, String)>> {
        let urls = self.server.get()?.urls().join(",");
        Some(vec![(CHILD_URLS.to_owned(), urls)])
    }

    async fn owned_server(&self) -> Result<Box<dyn OwnedServer>, Unavailable> {
        match self.server.get() {
            Some(server) if server.owns_server() => Ok(Box::new(Owned::start(self).await?)),
            // A process could be started, but it would not be the server under test.
            _ => Err(Unavailable { reason: "the server is not ours to break".into(), fatal: false }),
        }
    }
}

fn main() -> std::process::ExitCode {
    stanchion_conformance::main([
        Redis::on(Topology::Standalone),
        Redis::under_acl(),
        Redis::on(Topology::Cluster),
    ])
}
