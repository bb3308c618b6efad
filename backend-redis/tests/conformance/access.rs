//! How the library connects to what it is tested on.

use std::time::Duration;

use stanchion::Result;
use stanchion::stores::Stores;
use stanchion_conformance::Place;
use stanchion_conformance::servers::Topology;
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::acl;
use crate::kind::Kind;
#[cfg(feature = "tls")]
use crate::tls::ClientFiles;

/// How long a call may take: on a busy machine too, healthy ones end long before.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// What the sentinels of the test servers call the master.
const SENTINEL_NAME: &str = "main";

/// How to connect.
#[derive(Clone)]
pub(super) struct Access {
    pub(super) kind: Kind,
    #[cfg(feature = "tls")]
    pub(super) files: Option<ClientFiles>,
}

impl Access {
    /// Without certificates.
    pub(super) const fn plain(kind: Kind) -> Self {
        Self {
            kind,
            #[cfg(feature = "tls")]
            files: None,
        }
    }

    pub(super) async fn open(&self, urls: &[String], place: &Place) -> Result<Stores> {
        let as_user = self.kind == Kind::Acl;
        let urls: Vec<_> =
            urls.iter().map(|url| if as_user { acl::with_user(url) } else { url.clone() }).collect();
        let config = match self.kind.topology() {
            _ if self.kind == Kind::Sentinel => {
                RedisConfig::sentinel(SENTINEL_NAME, urls.iter().map(String::as_str))?
            }
            Topology::Cluster => RedisConfig::cluster(urls.iter().map(String::as_str))?,
            Topology::Standalone => RedisConfig::standalone(urls.first().map_or("", String::as_str))?,
        };
        #[cfg(feature = "tls")]
        let config = match &self.files {
            Some(files) => files.used_by(config)?,
            None => config,
        };
        let config = config.deadline(DEADLINE).cache_deadline(DEADLINE).prefix(place.prefix())?;
        Ok(RedisBackend::connect(config).await?.stores())
    }
}
