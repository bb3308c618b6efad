//! A watcher that keeps its notifications, and stores to watch.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use stanchion::cache::AllParts as _;
use stanchion::cache::{CacheStore, Shard, Watch, Watcher};
use stanchion::key::{Key, Namespace};
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion_conformance::servers::{RedisProcess, until};
use stanchion_redis::{RedisBackend, RedisConfig};

/// For machines with much else to do.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(30);
pub(crate) const PREFIX: &str = "feed";

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Notification {
    Changed(String),
    Lost,
    Restored,
    /// Of a shard of a Cluster.
    LostOf(Shard),
    RestoredOf(Shard),
}

#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Vec<Notification>>);

impl Recorder {
    fn keep(&self, notification: Notification) {
        self.0.lock().unwrap().push(notification);
    }
}

impl Watcher for Recorder {
    fn changed(&self, key: &str) {
        self.keep(Notification::Changed(key.to_owned()));
    }

    fn lost(&self, shard: Shard) {
        self.keep(if shard == Shard::ONLY { Notification::Lost } else { Notification::LostOf(shard) });
    }

    fn restored(&self, shard: Shard) {
        let is_only = shard == Shard::ONLY;
        self.keep(if is_only { Notification::Restored } else { Notification::RestoredOf(shard) });
    }
}

/// A watch of one namespace, and its notifications.
pub(crate) struct Watched {
    recorder: Arc<Recorder>,
    pub(crate) watch: Option<Watch>,
}

impl Watched {
    /// Watches, and does not wait.
    pub(crate) fn begin(store: &dyn CacheStore, service: &str, kind: &str) -> Self {
        let recorder = Arc::new(Recorder::default());
        let namespace = Namespace::new(service, kind).unwrap();
        let watch = store.watch(&namespace, Arc::clone(&recorder) as _).unwrap();
        Self { recorder, watch: Some(watch) }
    }

    /// Watches, and waits until the namespace is up.
    pub(crate) async fn up(store: &dyn CacheStore, service: &str, kind: &str) -> Self {
        let watched = Self::begin(store, service, kind);
        watched.sees(&[Notification::Restored]).await;
        assert_eq!(watched.notifications(), [Notification::Restored], "the first notification");
        watched.forget();
        watched
    }

    /// As [`up`](Self::up) on a Cluster of so many masters.
    pub(crate) async fn up_on_all(store: &dyn CacheStore, service: &str, kind: &str, masters: usize) -> Self {
        let watched = Self::begin(store, service, kind);
        let restored = || {
            let seen = watched.notifications();
            assert!(seen.iter().all(|seen| matches!(seen, Notification::RestoredOf(_))), "{seen:?}");
            seen.len()
        };
        let up = until("all shards are up", TIMEOUT, || async {
            if restored() == masters { Ok(()) } else { Err(format!("{:?}", watched.notifications())) }
        });
        up.await.unwrap();
        watched.forget();
        watched
    }

    pub(crate) fn notifications(&self) -> Vec<Notification> {
        self.recorder.0.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.recorder.0.lock().unwrap().clear();
    }

    /// Waits for these notifications, in this order, with anything in between.
    pub(crate) async fn sees(&self, expected: &[Notification]) {
        let seen = until("the notifications", TIMEOUT, || async {
            let seen = self.notifications();
            let mut in_order = seen.iter();
            let missing = expected.iter().find(|wanted| !in_order.any(|seen| seen == *wanted));
            match missing {
                None => Ok(()),
                Some(missing) => Err(format!("{missing:?} is missing in {seen:?}")),
            }
        });
        seen.await.unwrap();
    }

    /// Waits for a notification of this key, and forgets all.
    pub(crate) async fn sees_change(&self, key: &str) {
        self.sees(&[Notification::Changed(key.to_owned())]).await;
        self.forget();
    }

    /// Writes a key of the namespace; until it is notified, there must be the expected notifications and no others.
    pub(crate) async fn only(&self, expected: &[&str], server: &RedisProcess) {
        run(server, &["SET", &stored("cache:user:marker"), "x"]).await;
        self.sees(&[Notification::Changed("cache:user:marker".to_owned())]).await;
        let mut seen = self.notifications();
        seen.retain(|seen| *seen != Notification::Changed("cache:user:marker".to_owned()));
        let expected: Vec<_> = expected.iter().map(|key| Notification::Changed((*key).to_owned())).collect();
        assert_eq!(seen, expected);
        self.forget();
    }
}

pub(crate) fn config(url: &str) -> RedisConfig {
    let config = RedisConfig::standalone(url).unwrap().prefix(PREFIX).unwrap();
    config.deadline(TIMEOUT).cache_deadline(TIMEOUT)
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

/// A key as it is stored.
pub(crate) fn stored(key: &str) -> String {
    format!("{PREFIX}:{key}")
}

pub(crate) fn key(id: &str) -> Key {
    Key::new("cache", "user", id).unwrap()
}

pub(crate) fn ttl() -> Ttl {
    Ttl::new(Duration::from_mins(10)).unwrap()
}

/// The connections on which the server sends invalidations, by tracking or on channels.
pub(crate) async fn feeds(server: &RedisProcess) -> Vec<String> {
    let list = run(server, &["CLIENT", "LIST"]).await;
    let field = |line: &str, name: &str| {
        line.split(' ').find_map(|field| field.strip_prefix(name)?.strip_prefix('=')).map(str::to_owned)
    };
    let is_feed = |line: &&str| {
        field(line, "flags").is_some_and(|flags| flags.contains('t'))
            || field(line, "sub").is_some_and(|count| count != "0")
    };
    list.lines().filter(is_feed).filter_map(|line| field(line, "id")).collect()
}

pub(crate) async fn kill_feed(server: &RedisProcess) {
    for id in feeds(server).await {
        run(server, &["CLIENT", "KILL", "ID", &id]).await;
    }
}
