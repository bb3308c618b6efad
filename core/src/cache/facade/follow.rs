//! Domain events that drop cached values.

use std::sync::{Arc, Weak};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Cache;
use super::cache::Inner;
use crate::cache::store::Tag;
use crate::codec::Codec;
use crate::environment::Environment;
use crate::error::{ErrorKind, Result};
use crate::event::{Delivery, Event, Events, Topic};
use crate::key::{Identifier, Key};
use crate::random::jittered;

/// What an event drops.
enum Dropped {
    Entry(Key),
    Tag(Tag),
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Cache<T, C> {
    /// Drops a value whenever an event says that it has changed: `key` names the value, or none. From the moment this
    /// returns no event is missed. If events may have been missed, because this process was slow, its connection was away,
    /// one of them can't be read, or the server no longer allows the subscription (then it is asked for again until it does),
    /// the whole cache is [cleared](Self::clear), since nobody knows what they said. What can't be cleared, plain values and those of a store without [tags](crate::cache::CacheStore::tags), stays until its TTL,
    /// and that is logged.
    ///
    /// It goes on until the cache is dropped or the stores are closed.
    ///
    /// # Errors
    /// If the subscription can't be had.
    ///
    /// # Cancel safety
    /// Dropping the future leaves no subscription.
    pub async fn invalidate_on<E, I>(
        &self,
        topic: &Topic<E>,
        key: impl Fn(&E) -> Option<I> + Send + Sync + 'static,
    ) -> Result<()>
    where
        E: Event,
        I: Identifier,
    {
        let namespace = self.0.reader.keys.namespace().clone();
        self.follow(topic, move |event| {
            key(event).map(|id| namespace.key(id).map(Dropped::Entry)).transpose()
        })
        .await
    }

    /// As [`invalidate_on`](Self::invalidate_on), for everything that carries a tag: lists that show what has changed.
    ///
    /// # Errors
    /// If the subscription can't be had; `Unsupported` in plain mode, and on a store without
    /// [tags](crate::cache::CacheStore::tags).
    ///
    /// # Cancel safety
    /// Dropping the future leaves no subscription.
    pub async fn invalidate_tag_on<E: Event>(
        &self,
        topic: &Topic<E>,
        tag: impl Fn(&E) -> Option<Tag> + Send + Sync + 'static,
    ) -> Result<()> {
        if self.0.reader.generations.is_none() {
            return Err(self.0.reader.no_tags());
        }
        self.follow(topic, move |event| Ok(tag(event).map(Dropped::Tag))).await
    }

    async fn follow<E: Event>(
        &self,
        topic: &Topic<E>,
        dropped: impl Fn(&E) -> Result<Option<Dropped>> + Send + Sync + 'static,
    ) -> Result<()> {
        let events = topic.subscribe().await?;
        let environment = self.0.reader.environment.clone();
        let ended = self.0.ended.token().clone();
        let following = follow(Arc::downgrade(&self.0), topic.clone(), events, dropped);
        let task = async move {
            tokio::select! {
                biased;
                () = environment.tasks.closing() => {}
                () = ended.cancelled() => {}
                () = following => {}
            }
        };
        self.0.reader.environment.tasks.spawn(task).map(drop)
    }
}

async fn follow<T, C, E>(
    cache: Weak<Inner<T, C>>,
    topic: Topic<E>,
    mut events: Events<E>,
    dropped: impl Fn(&E) -> Result<Option<Dropped>>,
) where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    C: Codec,
    E: Event,
{
    while let Some(delivery) = events.next().await {
        let Some(inner) = cache.upgrade() else {
            return;
        };
        let cache = Cache(inner);
        let what = match delivery {
            Delivery::Event { data, .. } => match dropped(&data) {
                Ok(Some(what)) => Some(what),
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!(namespace = %cache.0.reader.keys.namespace(), %error, "an event names no value of this cache");
                    continue;
                }
            },
            // Nobody knows what was missed.
            Delivery::Lagged(_) | Delivery::Reconnected | Delivery::Malformed(_) => None,
            Delivery::Ended(error) => {
                let (namespace, environment) = (cache.0.reader.keys.namespace(), &cache.0.reader.environment);
                tracing::error!(%namespace, %error, "a cache can't follow its topic");
                let subscribing = subscribe_again(&topic, environment);
                // Until then nothing is dropped by events, and it is not known what should be.
                let (again, ()) = futures_util::join!(subscribing, carry_out(&cache, None));
                let Some(again) = again else {
                    return;
                };
                events = again;
                None
            }
        };
        carry_out(&cache, what).await;
    }
}

/// Subscribes, however long that takes; `None` once the stores are closed.
async fn subscribe_again<E: Event>(topic: &Topic<E>, environment: &Environment) -> Option<Events<E>> {
    const FIRST_PAUSE: Duration = Duration::from_millis(200);
    const LONGEST_PAUSE: Duration = Duration::from_secs(10);
    let mut pause = FIRST_PAUSE;
    loop {
        environment.sleep(jittered(&*environment.random, pause)).await;
        match topic.subscribe().await {
            Ok(events) => return Some(events),
            Err(error) if error.kind() == ErrorKind::Closed => return None,
            Err(_) => pause = (pause * 2).min(LONGEST_PAUSE),
        }
    }
}

/// Drops it, and tries until it is dropped: what an event says does not become untrue by an outage.
async fn carry_out<T, C>(cache: &Cache<T, C>, what: Option<Dropped>)
where
    T: Serialize + DeserializeOwned + Send + Sync + 'static,
    C: Codec,
{
    const FIRST_PAUSE: Duration = Duration::from_millis(20);
    const LONGEST_PAUSE: Duration = Duration::from_secs(1);
    let mut pause = FIRST_PAUSE;
    loop {
        let done = match &what {
            Some(Dropped::Entry(key)) => cache.0.writer.remove(std::slice::from_ref(key)).await.map(drop),
            Some(Dropped::Tag(tag)) => cache.invalidate_tag(tag).await,
            None => cache.clear().await,
        };
        match done {
            Ok(()) => return,
            Err(error) if error.is_retryable(true) => {
                tracing::debug!(namespace = %cache.0.reader.keys.namespace(), %error, "a value could not be dropped yet");
            }
            Err(error) => {
                tracing::error!(namespace = %cache.0.reader.keys.namespace(), %error, "a value could not be dropped");
                return;
            }
        }
        cache.0.reader.environment.sleep(jittered(&*cache.0.reader.environment.random, pause)).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
