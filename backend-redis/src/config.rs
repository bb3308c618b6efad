//! How a Redis backend is set up.

use std::fmt;
use std::time::Duration;

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use stanchion::cache::CacheCapabilities;
use stanchion::key::Name;
use stanchion::stores::Environment;
use stanchion::{Error, ErrorKind, Result};

/// Settings of a [`RedisBackend`](crate::RedisBackend). `Debug` shows hosts and no passwords.
#[derive(Clone)]
pub struct RedisConfig {
    pub(crate) addresses: Vec<ConnectionInfo>,
    pub(crate) cluster: bool,
    pub(crate) prefix: Option<Name>,
    pub(crate) deadline: Duration,
    pub(crate) cache_deadline: Duration,
    pub(crate) ping_every: Duration,
    pub(crate) invalidation: Invalidation,
    pub(crate) connect_attempts: u32,
    pub(crate) buckets: u16,
    pub(crate) cache: CacheCapabilities,
    pub(crate) environment: Option<Environment>,
    #[cfg(feature = "tls")]
    pub(crate) certificates: crate::tls::Certificates,
}

impl RedisConfig {
    /// One server: `redis://[user:password@]host[:port]`; `rediss://` with TLS, which is the feature `tls`.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for a URL that is none, for another database than 0: services are
    /// kept apart by key names, and a Cluster has only database 0; and for TLS without the feature.
    pub fn standalone(url: &str) -> Result<Self> {
        Ok(Self {
            addresses: vec![parse(url)?],
            cluster: false,
            prefix: None,
            deadline: Duration::from_secs(1),
            cache_deadline: Duration::from_millis(100),
            ping_every: Duration::from_secs(5),
            invalidation: Invalidation::Tracking,
            connect_attempts: 5,
            buckets: 1_024,
            cache: CacheCapabilities::new(),
            environment: None,
            #[cfg(feature = "tls")]
            certificates: crate::tls::Certificates::default(),
        })
    }

    /// A Cluster, by the URLs of some of its nodes; the others are discovered. All nodes take the user,
    /// password and TLS of the first.
    ///
    /// # Errors
    /// As [`standalone`](Self::standalone), and if there is no URL.
    pub fn cluster<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let addresses = urls.into_iter().map(parse).collect::<Result<Vec<_>>>()?;
        if addresses.is_empty() {
            return Err(Error::new(ErrorKind::Config, "a Cluster needs the URL of at least one node"));
        }
        Ok(Self { addresses, cluster: true, ..Self::standalone("redis://localhost")? })
    }

    /// Puts this in front of every key and channel, so that several deployments can share a server.
    ///
    /// # Errors
    /// `InvalidInput` if it is not a [`Name`].
    pub fn prefix(mut self, prefix: &str) -> Result<Self> {
        self.prefix = Some(Name::new(prefix)?);
        Ok(self)
    }

    /// How long an operation may take, redirections included; 1 second unless set.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a read of cached values may take, and the storing of a loaded one: `get`, `get_many`, `fetch`, `fill` and
    /// the generations of tags; 100 ms unless set. Shorter than other operations, since loading anew, or doing without, is
    /// better than waiting. A cache waits for the shorter of this and its own `store_deadline`: raise both.
    #[must_use]
    pub const fn cache_deadline(mut self, deadline: Duration) -> Self {
        self.cache_deadline = deadline;
        self
    }

    /// How often an idle connection is tried; every 5 seconds unless set. A link that is dead and does not say so
    /// is noticed after this time and a [`deadline`](Self::deadline): so long a near cache may miss changes.
    #[must_use]
    pub const fn ping_every(mut self, period: Duration) -> Self {
        self.ping_every = period;
        self
    }

    /// How changes of cached values are told to near caches; by [`Tracking`](Invalidation::Tracking) unless set.
    /// The same for all services of a deployment, and recorded in it.
    #[must_use]
    pub const fn invalidation(mut self, by: Invalidation) -> Self {
        self.invalidation = by;
        self
    }

    /// How often the first connection is tried, with pauses that grow from 50 ms to 2 s; 5 times unless set,
    /// at least once.
    #[must_use]
    pub const fn connect_attempts(mut self, attempts: u32) -> Self {
        self.connect_attempts = attempts;
        self
    }

    /// Over how many Cluster slots sessions, and locks, are spread; 1,024 unless set. The same for all
    /// services of a deployment, and recorded in it: it can't be changed later.
    ///
    /// # Errors
    /// `InvalidInput` for zero or more than 16,384.
    pub fn buckets(mut self, buckets: u16) -> Result<Self> {
        if buckets == 0 || buckets > 16_384 {
            return Err(Error::invalid("there are 1 to 16,384 buckets"));
        }
        self.buckets = buckets;
        Ok(self)
    }

    /// With other bounds of cached values and batches.
    #[must_use]
    pub const fn cache(mut self, capabilities: CacheCapabilities) -> Self {
        self.cache = capabilities;
        self
    }

    /// With another clock, randomness or hashing key.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
}

/// How the changes of cached values are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum Invalidation {
    /// By the server (`CLIENT TRACKING`): every change, by anybody, and expiry.
    #[default]
    Tracking,
    /// By what makes the change: each write of this library publishes its key as well. For servers that refuse
    /// tracking. Changes by other programs, `FLUSHALL` and expiry are not told: near caches leave those to the TTL.
    Bus,
}

impl Invalidation {
    /// As it is recorded.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Tracking => "tracking",
            Self::Bus => "bus",
        }
    }
}

/// Refuses TLS where it is not built in: the client's own words would not say what is missing.
fn check_scheme(url: &str, has_tls: bool) -> Result<()> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if !has_tls && ["rediss", "valkeys"].iter().any(|tls| scheme.eq_ignore_ascii_case(tls)) {
        let told = "TLS (rediss://) is not built in: it is the feature `tls` of stanchion-redis";
        return Err(Error::new(ErrorKind::Config, told));
    }
    Ok(())
}

fn parse(url: &str) -> Result<ConnectionInfo> {
    check_scheme(url, cfg!(feature = "tls"))?;
    // The URL may hold a password, and so may the client's message: neither is repeated.
    let wrong = |why: &str| {
        Error::new(ErrorKind::Config, format!("not a Redis URL: {why}; redis://host:port is one"))
    };
    let info = url.into_connection_info().map_err(|_| wrong("it can't be read"))?;
    if info.redis_settings().db() != 0 {
        return Err(wrong("it names a database other than 0, where keys are kept apart by name"));
    }
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(wrong("`#insecure` is not supported: a server's certificate is always checked"));
    }
    Ok(info)
}

impl fmt::Debug for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.addresses.iter().map(|info| info.addr().to_string()).collect();
        f.debug_struct("RedisConfig")
            .field("hosts", &hosts)
            .field("cluster", &self.cluster)
            .field("prefix", &self.prefix)
            .field("deadline", &self.deadline)
            .field("cache_deadline", &self.cache_deadline)
            .field("ping_every", &self.ping_every)
            .field("invalidation", &self.invalidation)
            .field("connect_attempts", &self.connect_attempts)
            .field("buckets", &self.buckets)
            .finish_non_exhaustive()
    }
}

/// What [`RedisBackend::connect`](crate::RedisBackend::connect) takes: a URL or a [`RedisConfig`].
///
/// A URL whose scheme is `redis+cluster` or `rediss+cluster` names a node of a Cluster.
pub trait IntoRedisConfig {
    /// The settings.
    fn into_redis_config(self) -> Result<RedisConfig>;
}

impl IntoRedisConfig for RedisConfig {
    fn into_redis_config(self) -> Result<RedisConfig> {
        Ok(self)
    }
}

impl IntoRedisConfig for &str {
    fn into_redis_config(self) -> Result<RedisConfig> {
        match self.split_once("+cluster://") {
            Some((scheme, rest)) => RedisConfig::cluster([format!("{scheme}://{rest}").as_str()]),
            None => RedisConfig::standalone(self),
        }
    }
}

impl IntoRedisConfig for &String {
    fn into_redis_config(self) -> Result<RedisConfig> {
        self.as_str().into_redis_config()
    }
}

impl IntoRedisConfig for String {
    fn into_redis_config(self) -> Result<RedisConfig> {
        self.as_str().into_redis_config()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_read_or_refused_without_its_password() {
        let config = "redis://user:hunter2@example.org:7000".into_redis_config().unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(format!("{config:?}").contains("example.org:7000"));
        assert!("redis+cluster://localhost".into_redis_config().unwrap().cluster);
        for bad in
            ["", "localhost", "http://user:hunter2@host", "redis://user:hunter2@host/7", "redis://h:hunter2x"]
        {
            let error = bad.into_redis_config().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{bad}");
        }
    }

    #[test]
    fn tls_is_refused_by_the_name_of_its_feature_where_it_is_not_built_in() {
        for url in ["rediss://user:hunter2@host", "REDISS://user:hunter2@host", "valkeys://user:hunter2@host"]
        {
            let error = check_scheme(url, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(error.to_string().contains("feature `tls`"), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
            assert!(check_scheme(url, true).is_ok(), "{url}");
        }
        for url in ["redis://host", "valkey://host", "redis://rediss:rediss@rediss", "rediss", ""] {
            assert!(check_scheme(url, false).is_ok(), "{url}");
        }
        // As it is built.
        for url in ["rediss://host", "rediss+cluster://host"] {
            assert_eq!(url.into_redis_config().is_ok(), cfg!(feature = "tls"), "{url}");
            assert!(format!("{url}#insecure").into_redis_config().is_err(), "{url}");
        }
    }

    #[test]
    fn settings_are_checked() {
        let config = || RedisConfig::standalone("redis://localhost").unwrap();
        assert!(config().prefix("with{brace").is_err());
        assert!(config().buckets(0).is_err());
        assert!(config().buckets(16_385).is_err());
        assert!(RedisConfig::cluster([]).is_err());
    }
}
