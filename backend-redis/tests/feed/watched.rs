//! A watcher that remembers what it was told, and stores to watch.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion::cache::{CacheStore, Watch, Watcher};
use stanchion::key::{Key, Namespace};
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion_conformance::servers::{RedisProcess, until};
use stanchion_redis::{RedisBackend, RedisConfig};

/// For machines with much else to do.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
pub(crate) const PREFIX: &str = "feed";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Changed(String),
    Lost,
    Restored,
}

#[derive(Debug, Default)]
pub(crate) struct Memory(Mutex<Vec<Told>>);

impl Memory {
    fn note(&self, told: Told) {
        self.0.lock().unwrap().push(told);
    }
}

impl Watcher for Memory {
    fn changed(&self, key: &str) {
        self.note(Told::Changed(key.to_owned()));
    }

    fn lost(&self) {
        self.note(Told::Lost);
    }

    fn restored(&self) {
        self.note(Told::Restored);
    }
}

/// A watch of one namespace and what came of it.
pub(crate) struct Watched {
    memory: Arc<Memory>,
    pub(crate) watch: Option<Watch>,
}

impl Watched {
    /// Not waited for.
    pub(crate) fn begin(store: &dyn CacheStore, service: &str, kind: &str) -> Self {
        let memory = Arc::new(Memory::default());
        let namespace = Namespace::new(service, kind).unwrap();
        let watch = store.watch(&namespace, Arc::clone(&memory) as _).unwrap();
        Self { memory, watch: Some(watch) }
    }

    /// Watches, and waits until everything is told.
    pub(crate) async fn up(store: &dyn CacheStore, service: &str, kind: &str) -> Self {
        let watched = Self::begin(store, service, kind);
        watched.sees(&[Told::Restored]).await;
        assert_eq!(watched.told(), [Told::Restored], "the first word");
        watched.forget();
        watched
    }

    pub(crate) fn told(&self) -> Vec<Told> {
        self.memory.0.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.memory.0.lock().unwrap().clear();
    }

    /// Waits until these were told, in this order, with anything in between.
    pub(crate) async fn sees(&self, expected: &[Told]) {
        let seen = until("what is to be told", PATIENCE, || async {
            let told = self.told();
            let mut told_in_turn = told.iter();
            let missing = expected.iter().find(|wanted| !told_in_turn.any(|told| told == *wanted));
            match missing {
                None => Ok(()),
                Some(missing) => Err(format!("{missing:?} is missing in {told:?}")),
            }
        });
        seen.await.unwrap();
    }

    /// Waits until this key was told, and forgets all.
    pub(crate) async fn sees_change(&self, key: &str) {
        self.sees(&[Told::Changed(key.to_owned())]).await;
        self.forget();
    }

    /// Something of this namespace is written; until it is told nothing but what is expected may be.
    pub(crate) async fn only(&self, expected: &[&str], server: &RedisProcess) {
        run(server, &["SET", &stored("cache:user:marker"), "x"]).await;
        self.sees(&[Told::Changed("cache:user:marker".to_owned())]).await;
        let mut told = self.told();
        told.retain(|told| *told != Told::Changed("cache:user:marker".to_owned()));
        let expected: Vec<_> = expected.iter().map(|key| Told::Changed((*key).to_owned())).collect();
        assert_eq!(told, expected);
        self.forget();
    }
}

pub(crate) fn config(url: &str) -> RedisConfig {
    let config = RedisConfig::standalone(url).unwrap().prefix(PREFIX).unwrap();
    config.deadline(PATIENCE).cache_deadline(PATIENCE)
}

pub(crate) async fn open(config: RedisConfig) -> (Stores, Arc<dyn CacheStore>) {
    let stores = RedisBackend::connect(config).await.unwrap().stores();
    let store = stores.cache_store().unwrap();
    (stores, store)
}

/// One command, which must not be refused.
pub(crate) async fn run(server: &RedisProcess, words: &[&str]) -> String {
    let reply = server.command(words).await.unwrap();
    assert!(!reply.is_error(), "{words:?}: {reply:?}");
    reply.text()
}

/// A key as it stands on the server.
pub(crate) fn stored(key: &str) -> String {
    format!("{PREFIX}:{key}")
}

pub(crate) fn key(id: &str) -> Key {
    Key::new("cache", "user", id).unwrap()
}

pub(crate) fn ttl() -> Ttl {
    Ttl::new(Duration::from_mins(10)).unwrap()
}

/// The connections on which the server tells of changes, by tracking or on channels.
pub(crate) async fn feeds(server: &RedisProcess) -> Vec<String> {
    let list = run(server, &["CLIENT", "LIST"]).await;
    let field = |line: &str, name: &str| {
        line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    let tells = |line: &&str| {
        field(line, "flags").is_some_and(|flags| flags.contains('t'))
            || field(line, "sub").is_some_and(|count| count != "0")
    };
    list.lines().filter(tells).filter_map(|line| field(line, "id")).collect()
}

pub(crate) async fn kill_feed(server: &RedisProcess) {
    for id in feeds(server).await {
        run(server, &["CLIENT", "KILL", "ID", &id]).await;
    }
}
