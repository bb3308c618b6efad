//! Builds a [`Cache`].

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

use super::Cache;
use super::cache::Inner;
use super::writer::Writer;
use crate::cache::keyspace::KeySpace;
use crate::cache::load::{Loader, LoadsInFlight};
use crate::cache::near::{
    Dependents, GenerationCache, InvalidationListener, NamespaceListener, NearCache, NearEngine,
};
use crate::cache::policy::{Eager, Settings};
use crate::cache::read::{Reader, StoreGate, TagsOf};
use crate::cache::stats::Counts;
use crate::cache::store::{CacheStore, Tag, Watcher};
use crate::cache::wire::Wire;
use crate::codec::{Codec, Json};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::event::{EventBus, Topic};
use crate::key::Namespace;
use crate::layer::deadline::bounded;

/// Builds a [`Cache`]: what its keys are called, how its values are stored, how long they are fresh.
///
/// | setting | default | unit and bounds |
/// |---|---|---|
/// | [`ttl`](Self::ttl) | 10 minutes | 1 ms to 10 years, as any [`Ttl`](crate::time::Ttl) |
/// | [`jitter`](Self::jitter) | 0 | share of the TTL, at least 0 and less than 1 |
/// | [`service`](Self::service) | `cache` | the first segment of the keys |
/// | [`near`](Self::near) | none | an engine; the store must have a feed |
/// | [`eager`](Self::eager) | [`Eager::Never`] | when a fresh value is loaded anew in the background |
/// | [`stale_while_revalidate`](Self::stale_while_revalidate) | 0 | after the TTL |
/// | [`fail_safe`](Self::fail_safe) | 0, back-off 30 s | after the TTL |
/// | [`soft_timeout`](Self::soft_timeout), [`hard_timeout`](Self::hard_timeout) | none | of one call |
/// | [`wait_timeout`](Self::wait_timeout) | twice the lease, at most half of the hard timeout | of somebody else's load |
/// | [`background_timeout`](Self::background_timeout) | the hard timeout, else 1 min | of one load, more than 0 |
/// | [`background_loads`](Self::background_loads) | 64 | 1 to 65,536 at once |
/// | [`failure_ttl`](Self::failure_ttl) | 500 ms | after a failed load |
/// | [`finish_in_background`](Self::finish_in_background) | off | |
/// | [`max_bytes`](Self::max_bytes) | the store's, 1 MiB | bytes of a value with its header |
/// | [`fail_closed`](Self::fail_closed) | off | |
/// | [`negative_ttl`](Self::negative_ttl) | none: absence is not remembered | |
/// | [`negative_grace`](Self::negative_grace) | 0 | after the negative TTL |
/// | [`near_in_outage`](Self::near_in_outage) | off | for how long changes may have been missed |
/// | [`lease`](Self::lease) | 3 s | at most 10 minutes |
/// | [`store_deadline`](Self::store_deadline) | 100 ms | of each read, more than 0; grows with batches |
/// | [`tags`](Self::tags), [`schema`](Self::schema) | none, 0 | |
/// | [`compress`](Self#method.compress), [`encrypt`](Self#method.encrypt) | off | features `compression`, `encryption` |
/// | [`publishing`](Self::publishing) | off | the bundle must have events |
/// | [`codec`](Self::codec) | [`Json`] | |
#[must_use = "call build()"]
pub struct CacheBuilder<T, C = Json> {
    store: Result<Arc<dyn CacheStore>>,
    generations: Option<Result<Arc<GenerationCache>>>,
    environment: Environment,
    service: String,
    kind: String,
    settings: Settings,
    near: Option<Arc<dyn NearEngine>>,
    wire: Wire<C>,
    tags_of: Option<TagsOf>,
    events: Result<Arc<dyn EventBus>>,
    source: String,
    publish: bool,
    value: std::marker::PhantomData<fn() -> T>,
}

impl<T, C> fmt::Debug for CacheBuilder<T, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CacheBuilder")
            .field("service", &self.service)
            .field("kind", &self.kind)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl<T> CacheBuilder<T> {
    /// Values of one kind in any cache store, without a bundle. It has no event bus, so it publishes nothing.
    pub fn new(store: Arc<dyn CacheStore>, environment: Environment, kind: &str) -> Self {
        let store = bounded(store, &environment);
        Self::on(Ok(store), None, Err(Error::unsupported("there are no events")), environment, kind)
    }

    pub(crate) fn on(
        store: Result<Arc<dyn CacheStore>>,
        generations: Option<Result<Arc<GenerationCache>>>,
        events: Result<Arc<dyn EventBus>>,
        environment: Environment,
        kind: &str,
    ) -> Self {
        Self {
            store,
            generations,
            environment,
            service: "cache".into(),
            kind: kind.into(),
            settings: Settings::default(),
            near: None,
            wire: Wire::new(Json),
            tags_of: None,
            events,
            source: "cache".into(),
            publish: false,
            value: std::marker::PhantomData,
        }
    }

    /// Exactly the value's JSON is stored, for programs in other languages that share the key. How fresh it is
    /// follows from the TTL that is left to it in the store. It carries no tags, no schema number and no header:
    /// [`tags`](Self::tags), [`clear`](Cache::clear) and [`invalidate_tag`](Cache::invalidate_tag) are refused as
    /// `Unsupported`, and nothing protects from a foreign value of another form but the decoding.
    ///
    /// A value is fresh for as long as it is there. Where it is to be served stale after that
    /// ([`stale_while_revalidate`](Self::stale_while_revalidate), [`fail_safe`](Self::fail_safe)), the store keeps it for the longer
    /// of the two beyond its life, and how long that is stands behind the JSON, in blank space that every reader of JSON passes
    /// over (`core/docs/wire-format.md`). So it is as fresh for builds with another grace, or with none. What other programs
    /// write without that is fresh until its TTL in the store is over.
    pub fn plain(mut self) -> Self {
        self.wire.plain = true;
        self
    }
}

impl<T, C> CacheBuilder<T, C> {
    /// The TTL: how long a value is fresh; 10 minutes unless set.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.settings.ttl = ttl;
        self
    }

    /// Shortens each TTL by up to this share of it, at random, so that values that were stored together don't end
    /// together. At least 0 and less than 1; 0 unless set.
    pub fn jitter(mut self, share: f64) -> Self {
        self.settings.jitter = share;
        self
    }

    /// The first segment of the keys, `cache` unless set: a service that keeps its values to itself puts its
    /// own name.
    pub fn service(mut self, service: &str) -> Self {
        service.clone_into(&mut self.service);
        self
    }

    /// The service that published events name as their source; the bundle's service unless set.
    pub fn source(mut self, service: &str) -> Self {
        service.clone_into(&mut self.source);
        self
    }

    /// Where events are published; the bundle's unless set.
    pub fn event_bus(mut self, events: Arc<dyn EventBus>) -> Self {
        self.events = Ok(events);
        self
    }

    /// Keeps decoded values in this process, in front of the store: a hit costs no trip. Changes by anybody are
    /// received from the store's feed of invalidations and drop the copy; while the feed is lost, the near cache is skipped.
    ///
    /// Each cache takes an engine of its own. `stanchion-memory` has two: `MokaNear` and `QuickNear`.
    pub fn near(mut self, engine: impl NearEngine) -> Self {
        self.near = Some(Arc::new(engine));
        self
    }

    /// Loads a value anew in the background before it is stale; never unless set. The share of
    /// [`Eager::After`] is more than 0 and less than 1, the factor of [`Eager::AtRandom`] finite and more than 0.
    pub fn eager(mut self, eager: Eager) -> Self {
        self.settings.eager = eager;
        self
    }

    /// Serves a stale value for this long after its TTL, while it is loaded anew in the background; zero unless set. After a
    /// failed load the loader is not run again for the back-off of [`fail_safe`](Self::fail_safe), 30 seconds unless set there.
    pub fn stale_while_revalidate(mut self, stale: Duration) -> Self {
        self.settings.stale = stale;
        self
    }

    /// Serves a stale value for this long after its TTL if it can't be loaded; zero unless set. After a failed load the
    /// loader is not run again for `backoff`. While the store can't be reached either, that is the last value that was read from
    /// it and is in the [near cache](Self::near), if its TTL is not over for longer than this. It may have been changed elsewhere
    /// meanwhile; it is none that this process knows to be removed, absent, or invalidated by a tag or a [`clear`](Cache::clear).
    pub fn fail_safe(mut self, stale: Duration, backoff: Duration) -> Self {
        self.settings.fail_safe = stale;
        self.settings.backoff = backoff;
        self
    }

    /// A load that takes longer is left to go on in the background, where a stale value can be served
    /// ([`fail_safe`](Self::fail_safe)). None unless set, and not longer than the [hard one](Self::hard_timeout).
    pub fn soft_timeout(mut self, timeout: Duration) -> Self {
        self.settings.soft_timeout = Some(timeout);
        self
    }

    /// A call that takes longer is ended, as [`LoadError::TimedOut`](crate::cache::LoadError::TimedOut), and so is its load:
    /// the whole call, also what it waits for somebody else's load. What was loaded by then is the answer, also if it is still being
    /// stored, which goes on. A call whose load is ended may take twice the [`store_deadline`](Self::store_deadline) longer, in which
    /// its lease is given back. [`warm`](Cache::warm) waits until what it has loaded is stored, since it counts that. None unless
    /// set, and not shorter than the [soft one](Self::soft_timeout).
    pub fn hard_timeout(mut self, timeout: Duration) -> Self {
        self.settings.hard_timeout = Some(timeout);
        self
    }

    /// How long a caller waits for somebody else's load: one that is in flight in this process, or another process's lease.
    /// Then it runs its own loader, without a lease; the value is served and not stored, and
    /// [`CacheStats::waits_ended`](crate::cache::CacheStats::waits_ended) counts it. Twice the [lease](Self::lease) unless
    /// set, 6 seconds with a lease of 3, and at most half of the [`hard_timeout`](Self::hard_timeout). Three quarters of it
    /// are for another process's lease, so that what is loaded then can serve all who wait in this process. Loaders that take
    /// longer than that need more, or several run at once.
    pub fn wait_timeout(mut self, timeout: Duration) -> Self {
        self.settings.wait_timeout = Some(timeout);
        self
    }

    /// How long a load runs that no caller has to wait for: one in the background
    /// ([`eager`](Self::eager), [`stale_while_revalidate`](Self::stale_while_revalidate)), and any that goes on when its callers
    /// have left ([`finish_in_background`](Self::finish_in_background), [`soft_timeout`](Self::soft_timeout)). Then its loader is
    /// dropped and its lease given back. A lease is kept for that long at most, whoever waits. Unless set, the
    /// [`hard_timeout`](Self::hard_timeout), and a minute where there is none; more than zero.
    pub fn background_timeout(mut self, timeout: Duration) -> Self {
        self.settings.background_timeout = Some(timeout);
        self
    }

    /// How many background loads of this cache run at once in this process; 64 unless set, from 1 to 65,536. A batch is one.
    /// While they are all taken, a value that is due or stale is served on, and
    /// [`CacheStats::reloads_skipped`](crate::cache::CacheStats::reloads_skipped) counts it.
    pub fn background_loads(mut self, most: usize) -> Self {
        self.settings.background_loads = most;
        self
    }

    /// For how long the failure of a load is the answer to those who ask after it, in this process and others; half a second
    /// unless set. It begins when the load fails: other processes answer with it for what is left of that, and no longer than their
    /// own setting. That of a batch as a whole is the failure of each of its values. A timeout is not remembered, nor that the
    /// store did not answer. With zero nothing is, and each caller who asks after it tries; those who have
    /// waited for the load get its failure all the same. Any change of the value by this process, and a
    /// [refresh](Cache::refresh), begin anew.
    pub fn failure_ttl(mut self, ttl: Duration) -> Self {
        self.settings.failure_ttl = ttl;
        self
    }

    /// A load goes on, and its value is stored, when nobody waits for it any more, for as long as a
    /// [background load](Self::background_timeout) may. Unless set, it ends with its last waiter.
    pub fn finish_in_background(mut self) -> Self {
        self.settings.background = true;
        self
    }

    /// The most bytes that a value may be stored in, with its header; unless set, what the store takes. Setting a larger
    /// one is `InvalidInput`; a loaded one is served, counted in
    /// [`CacheStats::unstorable`](crate::cache::CacheStats::unstorable) and not stored.
    pub fn max_bytes(mut self, bytes: usize) -> Self {
        self.wire.max_bytes = bytes;
        self
    }

    /// A store that does not answer is the caller's error, and the loader is not asked in its place: for loaders that
    /// would not bear to be asked each time. Unless set, the loader serves. Stale values are served first, where
    /// [`fail_safe`](Self::fail_safe) has one.
    pub fn fail_closed(mut self) -> Self {
        self.settings.fail_closed = true;
        self
    }

    /// How long it is remembered that there is no value, for [`get_or_find`](Cache::get_or_find). Unless set, that is
    /// not remembered.
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.settings.negative_ttl = Some(ttl);
        self
    }

    /// For how long after its [`negative_ttl`](Self::negative_ttl) it is still served that there is no value: while that is loaded
    /// anew in the background, and if it can't be loaded. Zero unless set, whatever
    /// [`stale_while_revalidate`](Self::stale_while_revalidate) and [`fail_safe`](Self::fail_safe) say of values: what was
    /// created meanwhile is found once the negative TTL is over, and a loader that fails is an error.
    pub fn negative_grace(mut self, grace: Duration) -> Self {
        self.settings.negative_grace = grace;
        self
    }

    /// Serves near copies while the invalidation feed is away, if their TTL is not over and changes of them may have been
    /// missed for no longer than this: since it was noticed that the feed is away, or since their read began, in the outage. A
    /// connection that is dead without having been closed is noticed late: by so much, which is the backend's to say, they may be older.
    /// Needs a [near cache](Self::near). Neither the store nor a loader is asked for them, not even where the cache is
    /// [`fail_closed`](Self::fail_closed); [`warm`](Cache::warm) asks the store all the same.
    /// [`Served`](crate::cache::Served) says so
    /// ([`Freshness::Unconfirmed`](crate::cache::Freshness::Unconfirmed)), and
    /// [`CacheStats::outage_hits`](crate::cache::CacheStats::outage_hits) counts it. Off unless set: then nothing is served that
    /// anybody may have changed, and the store is asked.
    ///
    /// What this process has changed itself, or knows to be invalidated by a tag or a [`clear`](Cache::clear), is not served. A
    /// change by others is: so this is for reference data (countries, prices of a catalogue, flags that may lag), and not for
    /// what a user expects to see changed at once, nor for permissions.
    pub fn near_in_outage(mut self, max_age: Duration) -> Self {
        self.settings.near_in_outage = Some(max_age);
        self
    }

    /// How long another process waits for a load of a process that has died; 3 seconds unless set, at most 10 minutes. A
    /// load that takes longer keeps its lease, for as long as a [background load](Self::background_timeout) may run.
    pub fn lease(mut self, lease: Duration) -> Self {
        self.settings.lease = lease;
        self
    }

    /// How long the store may take to answer before the loader serves; 100 ms unless set, and more than zero. It is the
    /// deadline of each question: a read that finds tags it does not know asks a second one. A batch has a millisecond more for
    /// every 8 keys, and up to 30 s more by a millisecond for every 8 KiB, as large as values were of late. To store what was loaded
    /// has a second, or this if it is longer, and grows likewise: a caller is answered within the deadline of a read all the same,
    /// while that goes on.
    ///
    /// Once the store has answered nothing for a quarter of a second or more, in which questions have failed at five moments or
    /// more, a circuit breaker opens: the store is asked once a second then, until it answers. What fails within 50 ms is one
    /// moment, so that one stall opens nothing, however many calls meet it; after 10 s without a failure it is counted anew. A store of several [shards](crate::cache::Shard) has a circuit breaker for each.
    ///
    /// A backend may have a [deadline of its own](crate::cache::CacheCapabilities::read_deadline), and the shorter of the two
    /// holds, as they are for a single key: a batch has more time by that one alone. On Redis that is `RedisConfig::cache_deadline`, 100 ms as well, so that raising this one alone changes
    /// nothing there.
    pub fn store_deadline(mut self, deadline: Duration) -> Self {
        self.settings.store_deadline = deadline;
        self
    }

    /// The tags of each value, from its escaped identifier.
    pub fn tags(mut self, tags_of: impl Fn(&str) -> Vec<Tag> + Send + Sync + 'static) -> Self {
        self.tags_of = Some(Arc::new(tags_of));
        self
    }

    /// The number of the type's form, to be raised when the form changes; values of others among `readable` are read as
    /// well. Values of any other number are misses; a process that knows only a lesser one leaves a greater one alone. A
    /// cache without a number leaves it alone too when it loads; its [`set`](Cache::set) overwrites any.
    pub fn schema(mut self, schema: u32, readable: &[u32]) -> Self {
        self.wire.schema = schema;
        self.wire.readable = readable.to_vec();
        self
    }

    /// Compresses values where that makes them shorter.
    #[cfg(feature = "compression")]
    pub fn compress(mut self, compression: crate::cache::Compression) -> Self {
        self.wire.compression = Some(compression);
        self
    }

    /// Encrypts values before they leave this process, each bound to its key. Values that are not encrypted, or with a
    /// key that is not in the keyring, are misses.
    #[cfg(feature = "encryption")]
    pub fn encrypt(mut self, keyring: crate::cache::Keyring) -> Self {
        self.wire.keyring = Some(keyring);
        self
    }

    /// Publishes `cache.invalidated` with each removal and each drop of a tag or of the whole cache, and `cache.warmed`
    /// with each warming. An event that can't be published is logged, and fails nothing.
    pub fn publishing(mut self) -> Self {
        self.publish = true;
        self
    }

    /// With another codec than JSON. Values of another codec are misses.
    pub fn codec<D: Codec>(self) -> CacheBuilder<T, D> {
        CacheBuilder {
            store: self.store,
            generations: self.generations,
            environment: self.environment,
            service: self.service,
            kind: self.kind,
            settings: self.settings,
            near: self.near,
            wire: self.wire.with_codec(D::default()),
            tags_of: self.tags_of,
            events: self.events,
            source: self.source,
            publish: self.publish,
            value: std::marker::PhantomData,
        }
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> CacheBuilder<T, C> {
    /// The cache.
    ///
    /// # Errors
    /// `InvalidInput` for a bad name, a life of zero or another setting out of its bounds, and for
    /// [`near_in_outage`](CacheBuilder::near_in_outage) without a near cache; `Unsupported` if the stores
    /// have no cache, or not what was asked for: tags or a near cache on a store without that [part](CacheStore), events to
    /// be published; and for tags, compression, encryption or another codec than JSON of plain values.
    pub fn build(self) -> Result<Cache<T, C>> {
        let store = self.store?;
        let namespace = Namespace::new(&self.service, &self.kind)?;
        let policy = self.settings.check()?;
        if self.wire.plain && (self.tags_of.is_some() || self.wire.schema != 0) {
            return Err(Error::unsupported("plain values carry neither tags nor a schema number"));
        }
        if self.wire.plain && (self.wire.compression.is_some() || self.wire.keyring.is_some()) {
            return Err(Error::unsupported("plain values are neither compressed nor encrypted"));
        }
        if self.wire.plain && C::ID != Json::ID {
            return Err(Error::unsupported("plain values are JSON"));
        }
        if policy.near_in_outage.is_some() && self.near.is_none() {
            return Err(Error::invalid("near copies in an outage need a near cache"));
        }
        let feed = match (&self.near, store.feed()) {
            (None, _) => None,
            (Some(_), Some(feed)) => Some(feed),
            (Some(_), None) => {
                return Err(Error::unsupported(
                    "this store has no feed of invalidations, so there is no near cache on it",
                ));
            }
        };
        if self.tags_of.is_some() && store.tags().is_none() {
            return Err(Error::unsupported("this store has no tags"));
        }
        let topics = if self.publish {
            let (events, environment) = (self.events?, self.environment.clone());
            let invalidated = Topic::new(Arc::clone(&events), environment.clone(), self.source.as_str())?;
            Some((invalidated, Topic::new(events, environment, self.source.as_str())?))
        } else {
            None
        };
        let generations = match (self.wire.plain || store.tags().is_none(), self.generations) {
            (true, _) => None,
            (false, Some(generations)) => Some(generations?),
            (false, None) => Some(GenerationCache::of(Arc::clone(&store))?),
        };
        let (environment, counts) = (self.environment, Arc::new(Counts::of(namespace.kind())));
        let namespace_tag = Tag::of_namespace(&namespace)?;
        let keys = KeySpace::new(namespace.clone());
        let near = self.near.map(|engine| Arc::new(NearCache::new(engine)));
        let in_flight = Arc::new(LoadsInFlight::new(store.leases().is_some()));
        let listener = Arc::new(InvalidationListener::new(
            near.clone(),
            Arc::clone(&in_flight) as Arc<dyn Dependents>,
            Arc::clone(&counts),
            keys.clone(),
            Arc::clone(&environment.clock),
        ));
        let mut watches = Vec::new();
        if let Some(feed) = feed {
            watches.push(feed.watch(&namespace, Arc::clone(&listener) as Arc<dyn Watcher>)?);
            let known = generations.as_ref().map(|generations| generations.known());
            let whole = NamespaceListener::new(Arc::clone(&listener), namespace_tag.clone(), known, &store);
            let [_, namespaces] = Tag::namespaces()?;
            watches.push(feed.watch(&namespaces, Arc::new(whole))?);
        }
        let is_watching = !watches.is_empty();
        let gate = StoreGate::new(
            Arc::clone(&store),
            policy.store_deadline,
            environment.clone(),
            namespace,
            Arc::clone(&counts),
        );
        let reader = Arc::new(Reader {
            gate,
            keys,
            namespace_tag,
            wire: self.wire,
            policy,
            generations,
            tags_of: self.tags_of,
            near,
            counts,
            environment,
        });
        let loader = Loader::new(Arc::clone(&reader), Arc::clone(&listener), in_flight, is_watching);
        Ok(Cache(Arc::new(Inner {
            writer: Writer::new(Arc::clone(&reader), listener, topics),
            loader: Arc::new(loader),
            reader,
            _watches: watches,
            ended: CancellationToken::new().drop_guard(),
        })))
    }
}
