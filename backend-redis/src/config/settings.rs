//! The settings themselves.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::ConnectionInfo;
use stanchion::environment::Environment;
use stanchion::key::Name;
use stanchion::{Error, ErrorKind, Result};

use super::invalidation::Invalidation;
use super::sentinel_settings::SentinelSettings;
use super::url::{Form, parse};
use crate::credentials::{Credentials, CredentialsProvider, Source};

/// Settings of a [`RedisBackend`](crate::RedisBackend). `Debug` and `Display` show hosts and users, and no secrets.
///
/// They begin with [`standalone`](Self::standalone), [`cluster`](Self::cluster), [`sentinel`](Self::sentinel), a URL
/// ([`FromStr`](#impl-FromStr-for-RedisConfig)), the environment ([`from_env`](Self::from_env)), or a settings file, with the feature
/// `serde`: the keys of that are the names below, and `url` (one, or a list of those of a Cluster's nodes, or of sentinels), `username`
/// and `password`; `sentinel_username` and `sentinel_password`; `root_certificate_file`, `client_certificate_file` and
/// `client_key_file` with TLS. Its times are written `500ms`, `5s`, `1m 30s`.
///
/// | setting | default | bounds | meaning |
/// |---|---|---|---|
/// | [`credentials`](Self::credentials) | those of the URL | | user and password |
/// | [`credentials_provider`](Self::credentials_provider) | none | | who knows those of now |
/// | [`sentinel_credentials`](Self::sentinel_credentials) | none | | user and password at the sentinels |
/// | [`sentinel_tls`](Self::sentinel_tls) | as the URL | | whether sentinels are reached by TLS |
/// | [`client_name`](Self::client_name) | none | a [`Name`]: 1 to 64 bytes of `[a-z0-9_-]` | what servers call the connections |
/// | [`prefix`](Self::prefix) | none | a [`Name`]: 1 to 64 bytes of `[a-z0-9_-]` | in front of every key |
/// | [`deadline`](Self::deadline) | 1 s | 1 ms to 1 h | of an operation |
/// | [`cache_deadline`](Self::cache_deadline) | 100 ms | 1 ms to 1 h | of a read of cached values |
/// | [`ping_every`](Self::ping_every) | 5 s | 10 ms to 1 h | between two heartbeats |
/// | [`invalidation`](Self::invalidation) | [`Tracking`](Invalidation::Tracking) | one value for the whole deployment | how near caches are notified |
/// | [`connect_attempts`](Self::connect_attempts) | 5 | 1 to 10000 | of the first connection |
/// | [`buckets`](Self::buckets) | 1024 | 1 to 16384; one value for the whole deployment, for good | slots for sessions, and for locks |
/// | [`max_value_bytes`](Self::max_value_bytes) | 1048576 | 1 to 536870912 | of a cached value with its header |
/// | [`max_batch`](Self::max_batch) | 10000 | 1 to 1000000 | keys of one batch of cached values |
/// | [`feed`](Self::feed) | true | | whether near caches are possible |
/// | [`command_spans`](Self::command_spans) | false | | a span for each command |
/// | [`command_durations`](Self::command_durations) | false | | a histogram of commands, with the feature `metrics` |
/// | [`environment`](Self::environment) | [`Environment::system`] | | clock, randomness, hashing key and runtime |
/// | `root_certificate` (feature `tls`) | Mozilla's list | PEM, one certificate or more | the roots that connections trust |
/// | `client_certificate` (feature `tls`) | none | PEM, a certificate chain and its private key | what they show |
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
/// config.check()?;
/// assert_eq!(config.to_string(), "redis://localhost:6379");
/// # Ok(()) }
/// ```
#[derive(Clone)]
#[expect(clippy::struct_excessive_bools, reason = "each is a setting of its own, set by its name")]
pub struct RedisConfig {
    pub(crate) addresses: Vec<ConnectionInfo>,
    pub(crate) cluster: bool,
    pub(crate) sentinel: SentinelSettings,
    pub(crate) credentials: Source,
    pub(crate) client_name: Option<Name>,
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
    /// One server, by its [URL](#impl-FromStr-for-RedisConfig): `redis://[user[:password]@]host[:port]`; `rediss://` with TLS,
    /// which is the feature `tls`.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) for a URL that is none, or a Cluster's; for another database than 0: services are
    /// kept apart by key names, and a Cluster has only database 0; and for TLS without the feature.
    pub fn standalone(url: &str) -> Result<Self> {
        let parsed = parse(url)?;
        if parsed.form != Form::Standalone {
            let other = if parsed.form == Form::Cluster {
                "the URL is that of a Cluster: RedisConfig::cluster reads it"
            } else {
                "the URL is that of sentinels: RedisConfig::from_str reads it"
            };
            return Err(Error::new(ErrorKind::Config, other));
        }
        Ok(Self::new(parsed.addresses, false, parsed.credentials))
    }

    /// A Cluster, by the [URLs](#impl-FromStr-for-RedisConfig) of some of its nodes; the others are discovered. All nodes take the
    /// user, password and TLS of the first.
    ///
    /// # Errors
    /// As [`standalone`](Self::standalone), if there is no URL, and if they name different users or passwords.
    pub fn cluster<'a>(urls: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let (mut addresses, mut credentials) = (Vec::new(), None);
        for (at, url) in urls.into_iter().enumerate() {
            let parsed = parse(url)?;
            if parsed.form == Form::Sentinel {
                let other = "the URL is that of sentinels, and not of a node of a Cluster";
                return Err(Error::new(ErrorKind::Config, other));
            }
            addresses.extend(parsed.addresses);
            if at == 0 {
                credentials = parsed.credentials;
            } else if parsed.credentials.is_some() && parsed.credentials != credentials {
                let differ = "the nodes of a Cluster have one user: put it into the first URL";
                return Err(Error::new(ErrorKind::Config, differ));
            }
        }
        if addresses.is_empty() {
            return Err(Error::new(ErrorKind::Config, "a Cluster needs the URL of at least one node"));
        }
        Ok(Self::new(addresses, true, credentials))
    }

    /// With the default of every other setting.
    pub(super) fn new(
        addresses: Vec<ConnectionInfo>,
        cluster: bool,
        credentials: Option<Credentials>,
    ) -> Self {
        Self {
            addresses,
            cluster,
            sentinel: SentinelSettings::default(),
            credentials: credentials.map_or(Source::None, Source::Fixed),
            client_name: None,
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
        }
    }

    /// As this user, whatever the URL says.
    #[must_use]
    pub fn credentials(mut self, credentials: Credentials) -> Self {
        self.credentials = Source::Fixed(credentials);
        self
    }

    /// With the credentials of this provider, which is asked for each connection that is made, and before those that it has
    /// handed out end; whatever the URL says.
    #[must_use]
    pub fn credentials_provider(mut self, provider: impl CredentialsProvider) -> Self {
        self.credentials = Source::Provider(Arc::new(provider));
        self
    }

    /// What servers call the connections of this service, in `CLIENT LIST` and their logs: `stanchion:orders:commands` for
    /// `orders`, where the last part is what a connection is for; `stanchion:commands` unless set.
    ///
    /// # Errors
    /// `InvalidInput` if it is not a [`Name`].
    pub fn client_name(mut self, name: &str) -> Result<Self> {
        self.client_name = Some(Name::new(name)?);
        Ok(self)
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
    /// [`Timeout`](ErrorKind::Timeout). A provider of credentials has as long.
    #[must_use]
    pub const fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// How long a read of cached values may take: `get`, `get_many`, `fetch` and the generations of tags; 100 ms unless set. It is
    /// shorter than the deadline of other operations, since a miss costs less than a wait. A cache waits for the shorter of this and
    /// its own `store_deadline`, each as it is for a single key: raise both. To store a loaded value (`fill`) may take the
    /// [`deadline`](Self::deadline): whoever loads waits for that no longer than for a read, but for a warming, which counts what
    /// was stored.
    ///
    /// A batch (`get_many`, `get_many_with_ttl`, `fetch`; `fill` and `set_many` by [`deadline`](Self::deadline)) is sent in groups, of about
    /// 4 MiB that are read or 1 MiB that is written. Each has this deadline from when it is sent, a millisecond more for every 8 keys
    /// and for every 8 KiB that it writes; and when that is over and bytes have come on its connection meanwhile, as much again, up to 30
    /// seconds or this deadline if it is longer. So the whole grows with its size, and a server that is silent ends it in time.
    #[must_use]
    pub const fn cache_deadline(mut self, deadline: Duration) -> Self {
        self.cache_deadline = deadline;
        self
    }

    /// How often a connection is pinged (the heartbeat); every 5 seconds unless set. A connection that is dead without
    /// having been closed is noticed after this time and a [`deadline`](Self::deadline): for so long a near cache may miss
    /// invalidations. So is a standalone master that has become a replica, where nothing is written: for so long what it answers
    /// may be as old as the failover.
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

    /// How often the first connection is tried, with pauses that grow from 50 ms to 2 s; 5 times unless set.
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

    /// Whether there is a feed of invalidations; there is unless set. Without, near caches are refused, and whoever waits for
    /// another process's load looks again after a pause.
    #[must_use]
    pub const fn feed(mut self, wanted: bool) -> Self {
        self.has_feed = wanted;
        self
    }

    /// Without the [feed](Self::feed) of invalidations.
    #[must_use]
    pub const fn without_feed(self) -> Self {
        self.feed(false)
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
            .field("sentinel", &self.sentinel)
            .field("credentials", &self.credentials)
            .field("client_name", &self.client_name)
            .field("prefix", &self.prefix)
            .field("deadline", &self.deadline)
            .field("cache_deadline", &self.cache_deadline)
            .field("ping_every", &self.ping_every)
            .field("invalidation", &self.invalidation)
            .field("connect_attempts", &self.connect_attempts)
            .field("buckets", &self.buckets)
            .field("max_value_bytes", &self.max_value_bytes)
            .field("max_batch", &self.max_batch)
            .field("feed", &self.has_feed)
            .field("command_spans", &self.command_spans)
            .field("command_durations", &self.command_durations)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
