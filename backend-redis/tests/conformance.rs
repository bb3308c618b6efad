//! The conformance suite on a real Redis: standalone (an address, a container or a process) and Cluster.

use std::time::Duration;

use stanchion::Result;
use stanchion::stores::Stores;
use stanchion_conformance::servers::{RedisServer, Topology};
use stanchion_conformance::{Harness, Offers, Place, Time, Unavailable};
use stanchion_redis::{RedisBackend, RedisConfig};
use tokio::sync::OnceCell;

/// Where a child process finds the server of its parent, whichever way that was found.
const CHILD_URLS: &str = "STANCHION_CHILD_URLS";

struct Redis {
    name: &'static str,
    topology: Topology,
    server: OnceCell<RedisServer>,
}

impl Redis {
    fn on(topology: Topology) -> Self {
        // The report keeps the ways of standing apart.
        let required = std::env::var("STANCHION_REQUIRE").unwrap_or_default();
        let name = match (topology, required.as_str()) {
            (Topology::Cluster, _) => "redis-cluster",
            (_, "container") => "redis-container",
            _ => "redis",
        };
        Self { name, topology, server: OnceCell::new() }
    }

    fn config(&self, place: &Place) -> Result<RedisConfig> {
        let urls = self.server.get().map(RedisServer::urls).unwrap_or_default();
        match self.topology {
            Topology::Cluster => RedisConfig::cluster(urls.iter().map(String::as_str))?,
            Topology::Standalone => RedisConfig::standalone(urls.first().map_or("", String::as_str))?,
        }
        .deadline(Duration::from_secs(10))
        .cache_deadline(Duration::from_secs(10))
        .prefix(place.prefix())
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
        let found = self.server.get_or_try_init(|| RedisServer::find(self.topology)).await;
        found.map(drop).map_err(|absent| Unavailable { reason: absent.message, fatal: absent.fatal })
    }

    async fn open(&self, place: &Place) -> Result<Stores> {
        Ok(RedisBackend::connect(self.config(place)?).await?.stores())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "the server's clock can't be driven: its time really passes"
    )]
    async fn advance(&self, _place: &Place, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn child_environment(&self) -> Option<Vec<(String, String)>> {
        let urls = self.server.get()?.urls().join(",");
        Some(vec![(CHILD_URLS.to_owned(), urls)])
    }
}

fn main() -> std::process::ExitCode {
    stanchion_conformance::main([Redis::on(Topology::Standalone), Redis::on(Topology::Cluster)])
}
