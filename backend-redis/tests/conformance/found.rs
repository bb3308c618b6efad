//! The server that the suite runs on.

use std::any::Any;
use std::time::Duration;

use stanchion_conformance::Unavailable;
use stanchion_conformance::servers::{Absent, Cluster, RedisServer, Search, SentinelSetup};

use crate::access::Access;
use crate::acl::{self, AclFile};
use crate::kind::Kind;

/// Where a child process finds the server of its parent, whichever way that was found.
const CHILD_URLS: &str = "STANCHION_CHILD_URLS";
/// And what it needs to be let in.
#[cfg(feature = "tls")]
const CHILD_FILES: &str = "STANCHION_CHILD_CERTIFICATES";

// A process could be started, but it would not be the server under test.
const NOT_OURS: &str = "the server is not ours to break";

/// A server, and how it is reached.
pub(super) struct Found {
    pub(super) access: Access,
    /// For the library.
    pub(super) urls: Vec<String>,
    /// For the harness itself: without TLS, and as somebody who may do everything.
    pub(super) operator_urls: Vec<String>,
    /// Why no case may break one of its kind; `None` where one may.
    pub(super) unbreakable: Option<&'static str>,
    /// What has to stay as long as it is used.
    _held: Box<dyn Any + Send + Sync>,
}

impl Found {
    /// Starts or finds one.
    pub(super) async fn find(kind: Kind, acl: &AclFile) -> Result<Self, Unavailable> {
        if let Ok(urls) = std::env::var(CHILD_URLS) {
            let urls = urls.split(',').map(ToOwned::to_owned).collect();
            return Ok(Self::of_parent(kind, urls));
        }
        match kind {
            Kind::Acl => {
                let server = acl.start().await.map_err(unavailable)?;
                Ok(Self::of(Access::plain(kind), vec![server.url()], None, server))
            }
            Kind::Standalone | Kind::Cluster => {
                let server = RedisServer::find(kind.topology()).await.map_err(unavailable)?;
                let unbreakable = (!server.owns_server()).then_some(NOT_OURS);
                Ok(Self::of(Access::plain(kind), server.urls(), unbreakable, server))
            }
            Kind::Replicas => {
                let binary = Search::from_env().owned().map_err(unavailable)?;
                let started = Cluster::with_replicas().binary(binary).start().await;
                let cluster = started.map_err(|error| unavailable(error.into()))?;
                Ok(Self::of(Access::plain(kind), cluster.urls(), None, cluster))
            }
            Kind::Sentinel => {
                let binary = Search::from_env().owned().map_err(unavailable)?;
                // Nothing is to fail here, however busy the machine is.
                let setup = SentinelSetup::new().binary(binary).down_after(Duration::from_mins(1));
                let sentinel = setup.start().await.map_err(|error| unavailable(error.into()))?;
                let (urls, master) = (sentinel.urls(), sentinel.nodes()[0].url());
                let unbreakable = Some("sentinels would replace a master that is away");
                Ok(Self {
                    operator_urls: vec![master],
                    ..Self::of(Access::plain(kind), urls, unbreakable, sentinel)
                })
            }
            #[cfg(feature = "tls")]
            Kind::Tls => {
                let (server, folder, files) = crate::tls::start().await.map_err(unavailable)?;
                let access = Access { files: Some(files), ..Access::plain(kind) };
                let (urls, operator_urls) = (vec![server.tls_url()], vec![server.url()]);
                let unbreakable = Some("a proxy sees neither requests nor replies through TLS");
                Ok(Self { access, urls, operator_urls, unbreakable, _held: Box::new((server, folder)) })
            }
        }
    }

    fn of(
        access: Access,
        urls: Vec<String>,
        unbreakable: Option<&'static str>,
        held: impl Any + Send + Sync,
    ) -> Self {
        let operator_urls = match access.kind {
            Kind::Acl => urls.iter().map(|url| acl::with_operator(url)).collect(),
            _ => urls.clone(),
        };
        Self { access, urls, operator_urls, unbreakable, _held: Box::new(held) }
    }

    fn of_parent(kind: Kind, urls: Vec<String>) -> Self {
        let access = Access::plain(kind);
        #[cfg(feature = "tls")]
        let files =
            std::env::var(CHILD_FILES).ok().and_then(|text| crate::tls::ClientFiles::from_text(&text));
        #[cfg(feature = "tls")]
        let access = Access { files, ..access };
        Self::of(access, urls, Some(NOT_OURS), ())
    }

    /// What a child process is told.
    pub(super) fn child_environment(&self) -> Vec<(String, String)> {
        let environment = [(CHILD_URLS.to_owned(), self.urls.join(","))];
        #[cfg(feature = "tls")]
        let files = self.access.files.iter().map(|files| (CHILD_FILES.to_owned(), files.to_text()));
        #[cfg(not(feature = "tls"))]
        let files = [];
        environment.into_iter().chain(files).collect()
    }
}

pub(super) fn unavailable(absent: Absent) -> Unavailable {
    Unavailable { reason: absent.message, fatal: absent.fatal }
}
