//! The backend: connects, and puts the stores together.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stanchion::cache::CacheStore;
use stanchion::environment::Health;
use stanchion::event::EventBus;
use stanchion::limit::RateLimiter;
use stanchion::lock::Locker;
use stanchion::random::jittered;
use stanchion::session::SessionStore;
use stanchion::stores::{Backend, Stores};
use stanchion::token::TokenStore;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use crate::cache::{CacheSettings, RedisCache};
use crate::config::{IntoRedisConfig, Invalidation, RedisConfig};
use crate::connect::{Client, Context, keep_renewed};
use crate::credentials::Credentials;
use crate::event::{RedisEvents, Subscriptions};
use crate::feed::Feed;
use crate::limit::RedisLimits;
use crate::lock::RedisLocks;
use crate::meta;
use crate::session::RedisSessions;
use crate::shared::Shared;
use crate::token::RedisTokens;

/// All stores on one deployment of Redis. Cheap to clone; clones share the connections.
///
/// # Runtime
/// Connections are driven by tasks on the tokio runtime in which [`connect`](Self::connect) is called, whichever runtime calls
/// come from; only those that renew locks have a thread of their own. Once that one has ended every call answers [`Config`](stanchion::ErrorKind::Config), with what to do, and the health is
/// `Down`: each `#[tokio::test]` has a runtime of its own, so that tests that share a backend have to share a runtime too. While
/// it lives and is not driven (a runtime of one thread runs its tasks only within `block_on`), or is blocked, calls of the stores
/// end by their deadlines, as [`Timeout`](stanchion::ErrorKind::Timeout), and the error names this as a possible cause; who waits
/// for an event, or without a deadline of its own, gets no error.
///
/// # Bounds
/// For each server, 65,536 commands and as many reads of one key may wait to be sent, and 64 MiB of each. More are refused as
/// [`Throttled`](stanchion::ErrorKind::Throttled), with nothing sent and a time after which to try again. A single call may be
/// larger than that; it is taken while less waits.
#[derive(Clone)]
pub struct RedisBackend(Arc<Connected>);

/// What the stores are made of, and what is closed with them.
struct Connected {
    shared: Arc<Shared>,
    subscriptions: Arc<Subscriptions>,
    feed: Feed,
    cache: CacheSettings,
}

impl RedisBackend {
    /// Connects, and checks that the deployment has this layout.
    ///
    /// The first connection is tried [several times](crate::RedisConfig::connect_attempts); from then on it is
    /// restored for ever, in the background.
    ///
    /// # Errors
    /// - [`Unavailable`](stanchion::ErrorKind::Unavailable) or [`Timeout`](stanchion::ErrorKind::Timeout), naming hosts,
    ///   attempts and the last cause; a standalone server that is a replica is one;
    /// - [`Denied`](stanchion::ErrorKind::Denied) for wrong credentials or missing rights, at the first attempt;
    /// - [`Config`](stanchion::ErrorKind::Config) for a URL that is none; for a node of a Cluster in place of a standalone server,
    ///   and the other way round, and for what is no sentinel, naming what to write; for a master that no sentinel knows; for a setting that is [out of bounds](RedisConfig::check); and for a
    ///   deployment of another layout, naming both values;
    /// - that of the [provider](crate::CredentialsProvider) of the credentials, by its kind.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no connection.
    pub async fn connect(config: impl IntoRedisConfig) -> Result<Self> {
        let config = config.into_redis_config()?;
        config.check()?;
        let environment = config.environment.clone().unwrap_or_default().with_own_tasks();
        let context = Context::new(&config, environment);
        let client = first_connection(&config, &context).await?;
        keep_renewed(&context)?;
        let subscriptions = Subscriptions::new(client.any_target(), &context);
        let feed = Feed::new(config.invalidation, &context);
        feed.after_loss(client.after_loss());
        client.observe_masters(feed.observer());
        let cache = CacheSettings::new(&config);
        let shared = Arc::new(Shared { client, context, deadline: config.deadline });
        Ok(Self(Arc::new(Connected { shared, subscriptions, feed, cache })))
    }

    /// Uses these credentials from now on, in place of those in the URL or of a provider: for each connection that is made, and
    /// for those that live, which are authenticated anew without being closed. One whose server does not take them is made
    /// anew.
    ///
    /// For passwords that are rotated by hand: set the new one beside the old at the server (`ACL SETUSER svc >new`), call this
    /// in every process, then take the old one away (`ACL SETUSER svc <old`).
    ///
    /// # Errors
    /// [`Denied`](stanchion::ErrorKind::Denied) if no server takes them, and an error of a connection if none replies: then
    /// the credentials of before stay in use. Where a server may have taken them and its reply did not come, the effect is
    /// `Unknown` and that connection is made anew. While no connection lives they are not tried, and that is no error.
    ///
    /// # Cancel safety
    /// What has begun goes on if the future is dropped.
    pub async fn reset_with(&self, credentials: Credentials) -> Result<()> {
        let context = Arc::clone(&self.0.shared.context);
        self.owned(async move { context.authentication.replace(credentials).await }).await
    }

    /// Asks the [provider](crate::RedisConfig::credentials_provider) for credentials, and authenticates the connections that live
    /// by them, now and not only before the last ones end. Without a provider they are authenticated by what they have.
    ///
    /// # Errors
    /// That of the provider, by its kind, or of a server that does not take them; connections keep what they have then.
    ///
    /// # Cancel safety
    /// What has begun goes on if the future is dropped.
    pub async fn renew_credentials(&self) -> Result<()> {
        let context = Arc::clone(&self.0.shared.context);
        self.owned(async move { context.authentication.renew().await }).await
    }

    /// Runs to its end, also if nobody waits for it.
    async fn owned(&self, work: impl Future<Output = Result<()>> + Send + 'static) -> Result<()> {
        let running = self.0.shared.context.environment.tasks.spawn(work)?;
        match running.await {
            Ok(Some(outcome)) => outcome.map_err(|error| error.with_backend("redis")),
            _ => Err(Error::new(ErrorKind::Closed, "the backend was closed before it was done")),
        }
    }

    /// One store of each kind.
    pub fn stores(&self) -> Stores {
        Stores::builder(self.0.shared.context.environment.clone()).backend(Arc::new(self.clone())).build()
    }
}

/// One attempt. The layout is part of it, because a server that is still loading takes connections but answers
/// nothing.
async fn connect_once(config: &RedisConfig, context: &Arc<Context>) -> Result<Client> {
    let client = Client::open(config, context).await?;
    meta::check(&client, context, config.invalidation).await?;
    Ok(client)
}

/// Tries several times, with pauses that grow; the error says where, how often, and why not.
async fn first_connection(config: &RedisConfig, context: &Arc<Context>) -> Result<Client> {
    let environment = &context.environment;
    let mut pause = Duration::from_millis(50);
    let attempts = config.connect_attempts.max(1);
    let mut attempt = 1;
    loop {
        let error = match connect_once(config, context).await {
            Ok(client) => return Ok(client),
            Err(error) => error,
        };
        // Neither credentials nor another layout get better by trying.
        if attempt >= attempts || !error.kind().is_transient() {
            return Err(gave_up(config, attempt, error));
        }
        tracing::warn!(%error, attempt, "can't connect yet");
        environment.sleep(jittered(&*environment.random, pause)).await;
        pause = (pause * 2).min(Duration::from_secs(2));
        attempt += 1;
    }
}

fn gave_up(config: &RedisConfig, attempts: u32, last: Error) -> Error {
    let hosts: Vec<_> = config.addresses.iter().map(|info| info.addr().to_string()).collect();
    let (hosts, times) = (hosts.join(", "), if attempts == 1 { "attempt" } else { "attempts" });
    let message = format!("can't connect to {hosts} after {attempts} {times}; the last cause: {last}");
    let error = Error::new(last.kind(), message).with_operation("connect").with_backend("redis");
    let error = match last.retry_after() {
        Some(wait) => error.with_retry_after(wait),
        None => error,
    };
    error.with_source(last)
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisBackend({:?})", self.0.shared.client)
    }
}

#[async_trait]
impl Backend for RedisBackend {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.0.shared.context.health.watch()
    }

    async fn close(&self) {
        self.0.feed.close();
        // First, since subscriptions may have to wait.
        self.0.shared.client.close();
        self.0.subscriptions.close().await;
    }

    fn cache(&self) -> Option<Arc<dyn CacheStore>> {
        let Connected { shared, feed, cache, .. } = &*self.0;
        Some(Arc::new(RedisCache::new(shared, feed, *cache)))
    }

    fn sessions(&self) -> Option<Arc<dyn SessionStore>> {
        let Connected { shared, feed, cache, .. } = &*self.0;
        let sends = cache.has_feed() && cache.invalidation() == Invalidation::Tracking;
        Some(Arc::new(RedisSessions::new(shared, Some(feed).filter(|_| sends))))
    }

    fn events(&self) -> Option<Arc<dyn EventBus>> {
        Some(Arc::new(RedisEvents::new(&self.0.shared, &self.0.subscriptions)))
    }

    fn locks(&self) -> Option<Arc<dyn Locker>> {
        Some(Arc::new(RedisLocks(Arc::clone(&self.0.shared))))
    }

    fn limits(&self) -> Option<Arc<dyn RateLimiter>> {
        Some(Arc::new(RedisLimits(Arc::clone(&self.0.shared))))
    }

    fn tokens(&self) -> Option<Arc<dyn TokenStore>> {
        let Connected { shared, feed, cache, .. } = &*self.0;
        let feed = Some(feed).filter(|_| cache.has_feed());
        Some(Arc::new(RedisTokens::new(shared, feed, cache.invalidation())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connecting_future_can_be_spawned() {
        fn spawnable<F: Future + Send + 'static>(_: F) {}
        spawnable(RedisBackend::connect("redis://localhost"));
    }
}
