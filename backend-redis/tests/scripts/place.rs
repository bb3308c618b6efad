//! A corner of the server to test in.

use std::collections::BTreeMap;
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, cmd};
use stanchion::key::{Key, Name, bucket_of};
use stanchion::random::{Random, SystemRandom};
use stanchion::session::{HashingKey, NewSession, SessionId, SessionLimit, SessionToken};
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion_redis::{RedisBackend, RedisConfig};

/// For machines with much else to do.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A corner of the server of its own, and a connection to look at what is in it.
pub(crate) struct Place {
    pub(crate) stores: Stores,
    prefix: String,
    pub(crate) server: MultiplexedConnection,
}

impl Place {
    pub(crate) async fn open(url: &str) -> Self {
        let mut random = [0; 8];
        SystemRandom.fill(&mut random).unwrap();
        let prefix = format!("scripts-{:016x}", u64::from_be_bytes(random));
        let config = RedisConfig::standalone(url).unwrap().prefix(&prefix).unwrap();
        let config = config.deadline(TIMEOUT).cache_deadline(TIMEOUT);
        let stores = RedisBackend::connect(config).await.unwrap().stores();
        let client = redis::Client::open(url).unwrap();
        let config = AsyncConnectionConfig::new().set_response_timeout(Some(TIMEOUT));
        let server = client.get_multiplexed_async_connection_with_config(&config).await.unwrap();
        let mut place = Self { stores, prefix, server };
        // It has no expiry; here it need not stay.
        let meta = place.key("stanchion:meta");
        place.run::<()>("PEXPIRE", &[&meta, "600000"]).await;
        place
    }

    pub(crate) fn key(&self, rest: &str) -> String {
        format!("{}:{rest}", self.prefix)
    }

    pub(crate) async fn run<T: redis::FromRedisValue>(&mut self, command: &str, args: &[&str]) -> T {
        cmd(command).arg(args).query_async(&mut self.server).await.unwrap()
    }

    pub(crate) async fn keys(&mut self) -> Vec<String> {
        let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
        loop {
            let pattern = self.key("*");
            let args = [cursor.as_str(), "MATCH", &pattern, "COUNT", "1000"];
            let (next, found): (String, Vec<String>) = self.run("SCAN", &args).await;
            keys.extend(found);
            if next == "0" {
                keys.sort_unstable();
                keys.dedup();
                return keys;
            }
            cursor = next;
        }
    }

    /// Everything that is stored, as the server would dump it.
    pub(crate) async fn everything(&mut self) -> BTreeMap<String, Vec<u8>> {
        let mut dumps = BTreeMap::new();
        for key in self.keys().await {
            let dump: Option<Vec<u8>> = self.run("DUMP", &[&key]).await;
            dumps.insert(key, dump.unwrap_or_default());
        }
        dumps
    }

    pub(crate) async fn assert_all_expire(&mut self, after: &str) {
        for key in self.keys().await {
            let left: i64 = self.run("PTTL", &[&key]).await;
            assert_ne!(left, -1, "{key} has no expiry after {after}");
        }
    }
}

pub(crate) fn service() -> Name {
    Name::new("auth").unwrap()
}

pub(crate) fn session_id(user: &str) -> SessionId {
    HashingKey::unkeyed().session_id(&SessionToken::generate(user, &SystemRandom).unwrap())
}

pub(crate) fn new_session(id: &SessionId, limit: SessionLimit) -> NewSession {
    NewSession::new(id.clone(), "u1", ttl(60), ttl(600), limit)
}

pub(crate) fn session_key(place: &Place, id: &SessionId) -> String {
    place.key(&format!("auth:session:{{{}}}:s:{}", id.bucket() % 1_024, id.hash_text()))
}

pub(crate) fn index_key(place: &Place) -> String {
    place.key(&format!("auth:session:{{{}}}:u:u1", bucket_of("u1") % 1_024))
}

pub(crate) fn ttl(secs: u64) -> Ttl {
    Ttl::new(Duration::from_secs(secs)).unwrap()
}

pub(crate) fn lock_key() -> Key {
    Key::new("locks", "lock", "nightly").unwrap()
}

/// Where the lock stands.
pub(crate) fn stored_lock(place: &Place) -> String {
    let bucket = bucket_of(lock_key().as_str()) % 1_024;
    place.key(&format!("locks:{{{bucket}}}:l:nightly"))
}

pub(crate) fn cache_key(id: &str) -> Key {
    Key::new("cache", "user", id).unwrap()
}

/// Where the entry and the lease on it stand.
pub(crate) fn cache_keys(place: &Place, id: &str) -> (String, String) {
    let entry = place.key(cache_key(id).as_str());
    let lease = format!("{{{entry}}}:lease");
    (entry, lease)
}
