//! The settings themselves.

use std::fmt;
use std::time::Duration;

use redis::ConnectionInfo;
use stanchion::environment::Environment;
use stanchion::key::Name;
use stanchion::{Error, ErrorKind, Result};

use super::invalidation::Invalidation;
use super::url::parse;

/// Settings of a [`RedisBackend`](crate::RedisBackend). `Debug` shows hosts and no passwords.
///
/// | setting | default | unit and bounds |
/// |---|---|---|
/// | [`standalone`](Self::standalone) or [`cluster`](Self::cluster) | none: one of the two begins a configuration | one URL; one or more URLs. Database 0 only |
/// | [`prefix`](Self::prefix) | none | a [`Name`]: 1 to 64 bytes of `[a-z0-9_-]` |
/// | [`deadline`](Self::deadline) | 1 s | any duration; zero times every call out |
/// | [`cache_deadline`](Self::cache_deadline) | 100 ms | any duration; zero times every read of the cache out |
/// | [`ping_every`](Self::ping_every) | 5 s | any duration above zero |
/// | [`invalidation`](Self::invalidation) | [`Tracking`](Invalidation::Tracking) | one value for the whole deployment |
/// | [`connect_attempts`](Self::connect_attempts) | 5 | attempts; 0 is 1 |
/// | [`buckets`](Self::buckets) | 1,024 | buckets, 1 to 16,384; one value for the whole deployment, for good |
/// | [`max_value_bytes`](Self::max_value_bytes) | 1 MiB | bytes of a cached value with its header |
/// | [`max_batch`](Self::max_batch) | 10,000 | keys of one batch of cached values |
/// | [`without_feed`](Self::without_feed) | there is a feed | without, there are no near caches |
/// | [`command_spans`](Self::command_spans) | off | a span for each command |
/// | [`command_durations`](Self::command_durations) | off | a histogram of commands, with the feature `metrics` |
/// | [`environment`](Self::environment) | [`Environment::system`] | clock, randomness, hashing key and runtime |
/// | `root_certificate` (feature `tls`) | Mozilla's list | PEM, one certificate or more |
/// | `client_certificate` (feature `tls`) | none | PEM, a certificate chain and its private key |
///
/// ```
/// use stanchion_redis::RedisConfig;
/// use std::time::Duration;
///
/// # fn main() -> stanchion::Result<()> {
/// let config = RedisConfig::standalone("redis://localhost")?
///     .prefix("staging")?
///     .deadline(Duration::from_millis(500))
///     .cache_deadline(Duration::from_millis(50));
/// # let _ = config;
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own, set by its name")]
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
    pub(crate) max_value_bytes: usize,
    pub(crate) max_batch: usize,
    pub(crate) has_feed: bool,
    pub(crate) command_spans: bool,
    pub(crate) command_durations: bool,
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
            max_value_bytes: 1024 * 1024,
            max_batch: 10_000,
            has_feed: true,
            command_spans: false,
            command_durations: false,
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

    /// How long an operation may take, redirects included; 1 second unless set. After that it ends with
    /// [`Timeout`](ErrorKind::Timeout).
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a read of cached values may take, and the storing of a loaded one: `get`, `get_many`, `fetch`, `fill` and
    /// the generations of tags; 100 ms unless set. It is shorter than the deadline of other operations, since a miss costs
    /// less than a wait. A cache waits for the shorter of this and its own `store_deadline`: raise both.
    #[must_use]
    pub const fn cache_deadline(mut self, deadline: Duration) -> Self {
        self.cache_deadline = deadline;
        self
    }

    /// How often a connection is pinged (the heartbeat); every 5 seconds unless set. A connection that is dead without
    /// having been closed is noticed after this time and a [`deadline`](Self::deadline): for so long a near cache may miss
    /// invalidations.
    #[must_use]
    pub const fn ping_every(mut self, period: Duration) -> Self {
        self.ping_every = period;
        self
    }

    /// How near caches are notified of changes of cached values; by [`Tracking`](Invalidation::Tracking) unless set.
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

    /// The largest cached value with its header, in bytes; 1 MiB unless set.
    #[must_use]
    pub const fn max_value_bytes(mut self, bytes: usize) -> Self {
        self.max_value_bytes = bytes;
        self
    }

    /// The most keys in one batch of cached values; 10,000 unless set.
    #[must_use]
    pub const fn max_batch(mut self, keys: usize) -> Self {
        self.max_batch = keys;
        self
    }

    /// Without the feed of invalidations: near caches are refused, and whoever waits for another process's load looks again
    /// after a pause.
    #[must_use]
    pub const fn without_feed(mut self) -> Self {
        self.has_feed = false;
        self
    }

    /// Whether each command, or those of one caller that are sent together, has a span, at level `INFO`, with the names that
    /// OpenTelemetry gives to calls of a database: `db.operation.name`, `db.stored_procedure.name` and so on. It is below the
    /// span of its caller, and says nothing of keys and values. Off unless set: a cache that is read often has many.
    /// Heartbeats, subscriptions and what is sent when a connection begins have none.
    #[must_use]
    pub const fn command_spans(mut self, wanted: bool) -> Self {
        self.command_spans = wanted;
        self
    }

    /// Whether the same are timed, in the histogram `db.client.operation.duration`, where the feature `metrics` is on. Off
    /// unless set.
    #[must_use]
    pub const fn command_durations(mut self, wanted: bool) -> Self {
        self.command_durations = wanted;
        self
    }

    /// With another clock, randomness or hashing key; the machine's own and the unkeyed hash unless set.
    #[must_use]
    pub fn environment(mut self, environment: Environment) -> Self {
        self.environment = Some(environment);
        self
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What the table at [`RedisConfig`] says.
    #[test]
    fn the_defaults_are_those_of_the_table() {
        let config = RedisConfig::standalone("redis://localhost").unwrap();
        assert_eq!(config.deadline, Duration::from_secs(1));
        assert_eq!(config.cache_deadline, Duration::from_millis(100));
        assert_eq!(config.ping_every, Duration::from_secs(5));
        assert_eq!(config.invalidation, Invalidation::Tracking);
        assert_eq!((config.connect_attempts, config.buckets), (5, 1_024));
        assert!(!config.command_spans && !config.command_durations);
        assert!(config.prefix.is_none() && config.environment.is_none() && !config.cluster);
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
