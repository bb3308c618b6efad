//! Which Redis the suite runs against.

use std::ffi::OsString;
use std::fmt;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;

use super::container::NoContainer;
use super::process::{self, find_binary};
use super::{Cluster, RedisContainer, RedisProcess, ServerError, link};

const IMAGE: &str = "redis:7.4-alpine";
// Its nodes announce one address to each other and to clients; with mapped ports there would be two.
const NO_CLUSTER: &str = "a Cluster is made of processes, or named by its URL";

/// What kind of Redis is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topology {
    /// One server.
    Standalone,
    /// Three masters.
    Cluster,
}

/// A way that must be taken (`STANCHION_REQUIRE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Require {
    /// The server that the URL names.
    Url,
    /// A container; its image may be fetched.
    Container,
    /// A process of the test's own.
    Process,
}

/// There is no server to test against.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Absent {
    /// What was looked for and what would help.
    pub message: String,
    /// Whether the run must fail: a way was demanded (`STANCHION_REQUIRE`, a URL) or this is CI (`CI` is set).
    /// Otherwise the cases are reported as ignored, with the message.
    pub fatal: bool,
}

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Absent {}

/// What the environment says about the server to find.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct Search {
    /// `STANCHION_REDIS_URL`: one server.
    pub url: Option<String>,
    /// `STANCHION_REDIS_CLUSTER_URL`: nodes of a Cluster, separated by commas.
    pub cluster_url: Option<String>,
    /// `STANCHION_REDIS_IMAGE`: `name:tag`, `redis:7.4-alpine` unless set.
    pub image: Option<String>,
    /// `STANCHION_REDIS_SERVER`: the binary to start.
    pub server: Option<OsString>,
    /// `PATH`, where `redis-server` is looked for.
    pub path: Option<OsString>,
    /// `STANCHION_REQUIRE`: `url`, `container` or `process`.
    pub require: Option<String>,
    /// `CI` is set, and not to `0` or `false`.
    pub ci: bool,
}

impl Search {
    /// What the environment of this process says.
    pub fn from_env() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
        Self {
            url: text("STANCHION_REDIS_URL"),
            cluster_url: text("STANCHION_REDIS_CLUSTER_URL"),
            image: text("STANCHION_REDIS_IMAGE"),
            server: std::env::var_os("STANCHION_REDIS_SERVER"),
            path: std::env::var_os("PATH"),
            require: text("STANCHION_REQUIRE"),
            ci: text("CI").is_some_and(|ci| ci != "0" && ci != "false"),
        }
    }

    /// Looks for a server, in the order of [`RedisServer::find`].
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn run(&self, topology: Topology) -> Result<RedisServer, Absent> {
        let require = self.requirement()?;
        if (require, topology) == (Some(Require::Container), Topology::Cluster) {
            // The demand can't be meant for it; the run with processes has it.
            let message = format!("{NO_CLUSTER}: left out where only containers are allowed");
            return Err(Absent { message, fatal: false });
        }
        let mut missing = Vec::new();
        let may = |way: Require| require.is_none_or(|required| required == way);
        if may(Require::Url) {
            match self.at_url(topology).await {
                Some(found) => return found,
                None => missing.push(format!("an address: {} is not set", url_variable(topology))),
            }
        }
        if may(Require::Container) {
            match self.in_container(topology, require.is_some()).await {
                Ok(found) => return Ok(found),
                Err(NoContainer::Failed(why)) => return Err(Absent { message: why, fatal: true }),
                Err(NoContainer::Absent(why)) => missing.push(format!("a container: {why}")),
            }
        }
        if may(Require::Process) {
            match self.binary() {
                Ok(binary) => {
                    let started = match topology {
                        Topology::Standalone => {
                            RedisProcess::start_binary(&binary, &[]).await.map(RedisServer::Process)
                        }
                        Topology::Cluster => Cluster::start_binary(&binary).await.map(RedisServer::Cluster),
                    };
                    // There is one, and it does not work: that is no laptop without Redis.
                    return started.map_err(|error| Absent { message: error.to_string(), fatal: true });
                }
                Err(error) => missing.push(format!("a process: {error}")),
            }
        }
        Err(self.absent(topology, require, &missing))
    }

    /// The `redis-server` to start.
    pub fn binary(&self) -> Result<PathBuf, ServerError> {
        find_binary(self.server.as_deref(), self.path.as_deref())
    }

    /// The `redis-server` for tests that need servers of their own, because they break them.
    ///
    /// # Errors
    /// [`Absent`]: fatal in CI and where a process was demanded, not where another way was.
    pub fn owned(&self) -> Result<PathBuf, Absent> {
        let require = self.requirement()?;
        if let Some(way) = require.filter(|way| *way != Require::Process) {
            let message =
                format!("it breaks its server, and STANCHION_REQUIRE allows only this way: {way:?}");
            return Err(Absent { message, fatal: false });
        }
        self.binary().map_err(|error| Absent {
            message: format!("it breaks its server, so it starts one: {error}"),
            fatal: self.ci || require.is_some(),
        })
    }

    fn requirement(&self) -> Result<Option<Require>, Absent> {
        match self.require.as_deref() {
            None => Ok(None),
            Some("url") => Ok(Some(Require::Url)),
            Some("container") => Ok(Some(Require::Container)),
            Some("process") => Ok(Some(Require::Process)),
            Some(other) => {
                let message = format!("STANCHION_REQUIRE is url, container or process, not {other:?}");
                Err(Absent { message, fatal: true })
            }
        }
    }

    fn absent(&self, topology: Topology, require: Option<Require>, missing: &[String]) -> Absent {
        let url = url_variable(topology);
        let help = format!(
            "Any one of these will do: set {url} to the address of one; run a Docker-compatible engine that has \
             the image {} (STANCHION_REDIS_IMAGE=name:tag chooses another); install redis-server (Debian: apt \
             install redis-server) or name its binary in STANCHION_REDIS_SERVER.",
            self.image.as_deref().unwrap_or(IMAGE),
        );
        let demand = require.map(|way| format!(" STANCHION_REQUIRE allows only this way: {way:?}."));
        let message = format!(
            "no Redis ({topology:?}) to test against. {}.{} {help}",
            missing.join("; "),
            demand.unwrap_or_default()
        );
        Absent { message, fatal: self.ci || require.is_some() }
    }

    async fn at_url(&self, topology: Topology) -> Option<Result<RedisServer, Absent>> {
        let named = match topology {
            Topology::Standalone => self.url.as_ref().map(|url| vec![url.trim().to_owned()]),
            Topology::Cluster => {
                let split = |urls: &String| urls.split(',').map(|url| url.trim().to_owned()).collect();
                self.cluster_url.as_ref().map(split)
            }
        };
        let urls: Vec<String> = named?;
        // A TLS port does not answer the harness; the suite will see.
        if let Some(addr) = urls.first().and_then(|url| plain_address(url))
            && let Err(error) = link::ask(addr, &["PING"]).await
        {
            let message = format!("{} names a server that does not answer: {error}", url_variable(topology));
            return Some(Err(Absent { message, fatal: true }));
        }
        Some(Ok(RedisServer::Url(urls)))
    }

    async fn in_container(&self, topology: Topology, required: bool) -> Result<RedisServer, NoContainer> {
        if topology == Topology::Cluster {
            return Err(NoContainer::Absent(NO_CLUSTER.to_owned()));
        }
        let image = self.image.as_deref().unwrap_or(IMAGE);
        RedisContainer::start(image, required).await.map(RedisServer::Container)
    }
}

const fn url_variable(topology: Topology) -> &'static str {
    match topology {
        Topology::Standalone => "STANCHION_REDIS_URL",
        Topology::Cluster => "STANCHION_REDIS_CLUSTER_URL",
    }
}

/// The address of a URL without TLS.
fn plain_address(url: &str) -> Option<SocketAddr> {
    let rest = url.strip_prefix("redis://")?;
    let host = rest.split(['/', '?']).next()?;
    let host = host.rsplit_once('@').map_or(host, |(_, host)| host);
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let address = if has_port { host.to_owned() } else { format!("{host}:6379") };
    address.to_socket_addrs().ok()?.next()
}

/// A Redis to test against.
#[derive(Debug)]
pub enum RedisServer {
    /// Somebody else's, at these URLs.
    Url(Vec<String>),
    /// One server in a container of ours.
    Container(RedisContainer),
    /// One server that is a process of ours.
    Process(RedisProcess),
    /// Three masters that are processes of ours.
    Cluster(Cluster),
}

impl RedisServer {
    /// Looks, in this order, for: an address in the environment; a container, where an engine answers and has
    /// the image; a `redis-server` to start. `STANCHION_REQUIRE` allows one way only, and then a container's
    /// image may be fetched too. [`Search`] lists the variables.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn find(topology: Topology) -> Result<Self, Absent> {
        Search::from_env().run(topology).await
    }

    /// The URL to connect to; of a Cluster, its first node.
    pub fn url(&self) -> String {
        self.urls().into_iter().next().unwrap_or_default()
    }

    /// The URLs of all nodes that are known.
    pub fn urls(&self) -> Vec<String> {
        match self {
            Self::Url(urls) => urls.clone(),
            Self::Container(container) => vec![container.url()],
            Self::Process(process) => vec![process.url()],
            Self::Cluster(cluster) => cluster.urls(),
        }
    }

    /// The way it was found.
    pub const fn way(&self) -> Require {
        match self {
            Self::Url(_) => Require::Url,
            Self::Container(_) => Require::Container,
            Self::Process(_) | Self::Cluster(_) => Require::Process,
        }
    }

    /// Whether a test may kill, pause and reconfigure it.
    pub const fn owns_server(&self) -> bool {
        matches!(self, Self::Process(_) | Self::Cluster(_))
    }

    /// Its version, of a Cluster the first node's; none where the harness can't ask (a password, TLS).
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn version(&self) -> Option<String> {
        let addr = plain_address(&self.url())?;
        process::version(addr).await.ok()
    }
}

impl From<ServerError> for Absent {
    fn from(error: ServerError) -> Self {
        Self { message: error.to_string(), fatal: true }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_of_a_url() {
        let port = |url| plain_address(url).map(|addr| addr.port());
        assert_eq!(port("redis://127.0.0.1:7000"), Some(7000));
        assert_eq!(port("redis://user:p%40ss@127.0.0.1:7000/0"), Some(7000));
        assert_eq!(port("redis://127.0.0.1"), Some(6379));
        assert_eq!(port("rediss://127.0.0.1:7000"), None);
    }
}
