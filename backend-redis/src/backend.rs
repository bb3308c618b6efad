//! The backend: connections, and the stores on them.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::cache::CacheCapabilities;
use stanchion::random::jittered;
use stanchion::stores::{Backend, Health, Stores};
use stanchion::{Error, Result};
use tokio::sync::watch;

use crate::config::{IntoRedisConfig, Invalidation, RedisConfig};
use crate::connect::{Context, Link};
use crate::event::Hub;
use crate::feed::Feed;
use crate::keys::Layout;
use crate::{cache, event, limit, lock, meta, session, token};

/// All stores on one deployment of Redis. Cheap to clone; clones share the connections.
#[derive(Clone)]
pub struct RedisBackend(Arc<Shared>);

/// What all stores share.
pub(crate) struct Shared {
    pub(crate) link: Link,
    pub(crate) layout: Layout,
    pub(crate) cache_capabilities: CacheCapabilities,
    pub(crate) hub: Arc<Hub>,
    pub(crate) feed: Arc<Feed>,
    pub(crate) context: Arc<Context>,
    pub(crate) invalidation: Invalidation,
    pub(crate) cache_deadline: Duration,
}

impl RedisBackend {
    /// Connects, and checks that the deployment has this layout.
    ///
    /// The first connection is tried [several times](crate::RedisConfig::connect_attempts); from then on it is
    /// restored for ever, in the background.
    ///
    /// # Errors
    /// - [`Unavailable`](stanchion::ErrorKind::Unavailable) or `Timeout`, naming hosts, attempts and the last cause;
    /// - `Denied` for wrong credentials or missing rights, at the first attempt;
    /// - `Config` for a URL that is none, and for a deployment of another layout, naming both values.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no connection.
    pub async fn connect(config: impl IntoRedisConfig) -> Result<Self> {
        let config = config.into_redis_config()?;
        let environment = config.environment.clone().unwrap_or_default().with_own_tasks();
        let context = Context::new(&config, environment);
        let link = first_connection(&config, &context).await?;
        let hub = Hub::new(link.any_target(), &context);
        let feed = Feed::new(config.invalidation, &context);
        let observer: Weak<Feed> = Arc::downgrade(&feed);
        link.observe(observer);
        Ok(Self(Arc::new(Shared {
            link,
            layout: context.layout.clone(),
            cache_capabilities: config.cache.read_deadline(config.cache_deadline),
            hub,
            feed,
            context,
            invalidation: config.invalidation,
            cache_deadline: config.cache_deadline,
        })))
    }

    /// One store of each kind.
    pub fn stores(&self) -> Stores {
        let shared = &self.0;
        Stores::builder(shared.context.environment.clone(), Arc::clone(shared) as Arc<dyn Backend>)
            .cache(Arc::new(cache::RedisCache(Arc::clone(shared))))
            .sessions(Arc::new(session::RedisSessions(Arc::clone(shared))))
            .events(Arc::new(event::RedisEvents(Arc::clone(shared))))
            .locks(Arc::new(lock::RedisLocks(Arc::clone(shared))))
            .limits(Arc::new(limit::RedisLimits(Arc::clone(shared))))
            .tokens(Arc::new(token::RedisTokens(Arc::clone(shared))))
            .build()
    }
}

/// One attempt. The layout is part of it, because a server that is still loading takes connections but answers
/// nothing.
async fn connect_once(config: &RedisConfig, context: &Arc<Context>) -> Result<Link> {
    let link = Link::open(config, context).await?;
    meta::check(&link, context, config.invalidation).await?;
    Ok(link)
}

/// Tries several times, with pauses that grow; says where, how often, and why not.
async fn first_connection(config: &RedisConfig, context: &Arc<Context>) -> Result<Link> {
    let environment = &context.environment;
    let mut pause = Duration::from_millis(50);
    let attempts = config.connect_attempts.max(1);
    let mut attempt = 1;
    loop {
        let error = match connect_once(config, context).await {
            Ok(link) => return Ok(link),
            Err(error) => error,
        };
        // Neither credentials nor another layout get better by trying.
        if attempt >= attempts || !error.kind().is_transient() {
            let hosts: Vec<_> = config.addresses.iter().map(|info| info.addr().to_string()).collect();
            let (hosts, times) = (hosts.join(", "), if attempt == 1 { "attempt" } else { "attempts" });
            let told = format!("can't connect to {hosts} after {attempt} {times}; the last cause: {error}");
            let told = Error::new(error.kind(), told).with_operation("connect").with_backend("redis");
            let told = match error.retry_after() {
                Some(wait) => told.with_retry_after(wait),
                None => told,
            };
            return Err(told.with_source(error));
        }
        tracing::warn!(%error, attempt, "can't connect yet");
        environment.sleep(jittered(&*environment.random, pause)).await;
        pause = (pause * 2).min(Duration::from_secs(2));
        attempt += 1;
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedisBackend({:?})", self.0.link)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("redis")
    }
}

#[async_trait]
impl Backend for Shared {
    fn name(&self) -> &'static str {
        "redis"
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.context.board.watch()
    }

    async fn close(&self) {
        self.feed.close();
        self.hub.close().await;
        self.link.close();
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
