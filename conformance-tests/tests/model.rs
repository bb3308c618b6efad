//! The model-based test finds stores that are wrong, and shows the shortest way to see it.
#![expect(clippy::unwrap_used, reason = "these are tests")]

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::Result;
use stanchion::cache::{
    CacheCapabilities, CacheStore, Fetched, Fill, FillOutcome, Generation, LeaseRequest, LeaseToken,
    SetEntry, SetOptions, SetOutcome, Tag, Watch, Watcher,
};
use stanchion::clock::ManualClock;
use stanchion::key::{Key, Name, Namespace};
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, SessionCapabilities, SessionId, SessionRecord,
    SessionStore, TouchOutcome,
};
use stanchion::stores::{Backend, Environment, Health, Stores};
use stanchion::time::{Timestamp, Ttl};
use stanchion_conformance::model::{Operation, World, agree, cases};
use stanchion_memory::{MemoryBackend, MemoryConfig};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// Two handles on a fresh memory, each as `alter` makes it.
fn world(alter: impl Fn(&Stores) -> Stores) -> World {
    let clock = ManualClock::new();
    let environment = Environment::system().clock(Arc::new(clock.clone()));
    let backend = MemoryBackend::with(MemoryConfig::new().environment(environment));
    let handles = [backend.stores(), backend.handle().stores()].iter().map(alter).collect();
    World::new(handles).ticking(move || clock.advance(Duration::from_millis(1)))
}

fn runtime() -> Runtime {
    Runtime::new().unwrap()
}

#[test]
fn memory_agrees_with_itself() {
    let agreed =
        agree(&runtime(), cases(64), 60, async || world(Stores::clone), async || world(Stores::clone));
    assert!(agreed.is_ok(), "{}", agreed.unwrap_err());
}

/// Says that the version is what it was.
#[derive(Debug)]
struct ForgetsTheVersion(Arc<dyn SessionStore>);

#[async_trait]
impl SessionStore for ForgetsTheVersion {
    fn capabilities(&self) -> SessionCapabilities {
        self.0.capabilities()
    }
    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        self.0.create(service, session).await
    }
    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.0.load(service, id).await
    }
    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        Ok(match self.0.patch(service, id, patch).await? {
            PatchOutcome::Saved { version } => PatchOutcome::Saved { version: version - 1 },
            other => other,
        })
    }
    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        self.0.touch(service, id).await
    }
    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.0.destroy(service, id).await
    }
    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionRecord>> {
        self.0.list(service, user).await
    }
    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        self.0.destroy_all(service, user, except).await
    }
}

/// Lets a counter live on with every addition.
#[derive(Debug)]
struct ProlongsCounters(Arc<dyn CacheStore>);

#[async_trait]
#[deny(clippy::missing_trait_methods)]
impl CacheStore for ProlongsCounters {
    fn capabilities(&self) -> CacheCapabilities {
        self.0.capabilities()
    }
    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.0.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        self.0.get_many(keys).await
    }
    async fn set(&self, key: &Key, value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        self.0.set(key, value, options).await
    }
    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        self.0.set_many(entries).await
    }
    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        self.0.remove_many(keys).await
    }
    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        let sum = self.0.add(key, delta, ttl).await?;
        self.0.touch(key, ttl).await?;
        Ok(sum)
    }
    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        self.0.touch(key, ttl).await
    }
    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        self.0.ttl(key).await
    }
    fn now(&self) -> Timestamp {
        self.0.now()
    }
    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        self.0.get_many_with_ttl(keys).await
    }
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        self.0.fetch(requests).await
    }
    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        self.0.fill(fills).await
    }
    async fn abandon(&self, leases: &[(Key, LeaseToken)]) -> Result<()> {
        self.0.abandon(leases).await
    }
    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        self.0.generations(tags).await
    }
    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        self.0.bump(tags).await
    }
    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.0.watch(namespace, watcher)
    }
}

#[derive(Debug)]
struct Life(watch::Sender<Health>);

#[async_trait]
impl Backend for Life {
    fn name(&self) -> &'static str {
        "wrong"
    }
    fn health(&self) -> watch::Receiver<Health> {
        self.0.subscribe()
    }
    async fn close(&self) {}
}

/// The same stores, but for those that are given.
fn altered(
    stores: &Stores,
    cache: impl Fn(Arc<dyn CacheStore>) -> Arc<dyn CacheStore>,
    sessions: impl Fn(Arc<dyn SessionStore>) -> Arc<dyn SessionStore>,
) -> Stores {
    let life = Arc::new(Life(watch::Sender::new(Health::Up)));
    Stores::builder(stores.environment().clone(), life)
        .cache(cache(stores.cache_store().unwrap()))
        .sessions(sessions(stores.session_store().unwrap()))
        .events(stores.event_bus().unwrap())
        .locks(stores.locker().unwrap())
        .limits(stores.rate_limiter().unwrap())
        .tokens(stores.token_store().unwrap())
        .build()
}

#[test]
fn a_version_that_stands_still_is_found_and_shrunk() {
    let wrong = async || world(|stores| altered(stores, |cache| cache, |s| Arc::new(ForgetsTheVersion(s))));
    let found = agree(&runtime(), 1_000, 60, async || world(Stores::clone), wrong).unwrap_err();
    assert!(
        matches!(found.steps.as_slice(), [one, two]
            if matches!(&one.operation, Operation::Session(_)) && matches!(&two.operation, Operation::Session(_))),
        "one session, one patch:\n{found}"
    );
    let told = found.to_string();
    for part in ["1. by", "Create", "2. by", "Patch", "expected", "version: 2", "observed", "version: 1"] {
        assert!(told.contains(part), "{part} in\n{told}");
    }
}

#[test]
fn a_counter_that_lives_on_is_found_and_shrunk() {
    let wrong = async || world(|stores| altered(stores, |cache| Arc::new(ProlongsCounters(cache)), |s| s));
    let found = agree(&runtime(), 1_000, 60, async || world(Stores::clone), wrong).unwrap_err();
    assert_eq!(found.steps.len(), 3, "made, added to with another life, looked at:\n{found}");
}
