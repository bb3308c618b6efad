//! A command was carried out and its reply was lost: it is not sent again, and the error says that nobody knows.

use futures_util::StreamExt as _;
use stanchion::cache::AllParts as _;
use stanchion::cache::SetOptions;
use stanchion::environment::Health;
use stanchion::event::{Received, SubscribeOptions};
use stanchion::key::Name;
use stanchion::stores::Stores;
use stanchion::token::Scope;
use stanchion::{Effect, Error, ErrorKind, Result};
use stanchion_conformance::servers::{Cluster, Proxy, RedisProcess};

use crate::operations::{
    event, lease, limit_key, lock_key, lock_request, new_session, service, session_id, tiers, value,
};
use crate::support::{
    TIMEOUT, becomes, cluster_config, config, connect, entry, eventually, facts, failed, hour, key,
};

/// Two processes, and the proxies in front of every server.
struct Scene {
    stores: Stores,
    other: Stores,
    proxies: Vec<Proxy>,
}

impl Scene {
    fn dropped(&self) -> usize {
        self.proxies.iter().map(Proxy::dropped_replies).sum()
    }

    /// The error of a call whose reply is thrown away: of the first request that contains this text, which must
    /// be the only one.
    async fn losing<T: std::fmt::Debug>(&self, needle: &str, call: impl Future<Output = Result<T>>) -> Error {
        becomes(&self.stores, Health::Up).await;
        let dropped = self.dropped();
        for proxy in &self.proxies {
            proxy.forget_requests();
            proxy.drop_next_reply_to(needle);
        }
        let error = failed(call.await);
        assert_eq!(self.dropped() - dropped, 1, "{needle}: {error}");
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{needle}: {error}");
        assert!(error.operation().is_some() && error.backend() == Some("redis"), "{error}");
        becomes(&self.stores, Health::Up).await;
        let sent: usize = self.proxies.iter().map(|proxy| proxy.requests(needle)).sum();
        assert_eq!(sent, 1, "{needle} was sent once");
        error
    }

    async fn unknown<T: std::fmt::Debug>(&self, needle: &str, call: impl Future<Output = Result<T>>) {
        let error = self.losing(needle, call).await;
        assert_eq!(error.effect(), Effect::Unknown, "{needle}: {error}");
        assert!(!error.is_retryable(false) && error.is_retryable(true), "{error}");
    }

    async fn not_applied<T: std::fmt::Debug>(&self, needle: &str, call: impl Future<Output = Result<T>>) {
        let error = self.losing(needle, call).await;
        assert_eq!(error.effect(), Effect::NotApplied, "{needle}: {error}");
    }
}

pub(crate) async fn on_one_server() {
    let server = RedisProcess::start().await.unwrap();
    let proxies = vec![Proxy::start(server.addr()).await.unwrap()];
    let stores = connect(config(&proxies[0].url())).await;
    let other = connect(config(&server.url())).await;
    everything(&Scene { stores, other, proxies }).await;
}

pub(crate) async fn on_a_cluster() {
    let (cluster, proxies) = Cluster::start_behind_proxies().await.unwrap();
    let stores = connect(cluster_config(&cluster.urls())).await;
    let other = connect(cluster_config(&cluster.urls())).await;
    everything(&Scene { stores, other, proxies }).await;
}

async fn everything(scene: &Scene) {
    cache(scene).await;
    batches(scene).await;
    sessions_and_tokens(scene).await;
    limits(scene).await;
    locks(scene).await;
    events(scene).await;
}

async fn cache(scene: &Scene) {
    let (here, there) = (scene.stores.cache_store().unwrap(), scene.other.cache_store().unwrap());
    for n in 0..6 {
        let counter = key(&format!("count{n}"));
        // So that the server knows the script.
        assert_eq!(here.add(&counter, 0, hour()).await.unwrap(), 0);
        scene.unknown(counter.as_str(), here.add(&counter, 1, hour())).await;
        assert_eq!(there.get(&counter).await.unwrap().unwrap(), "1");
        assert_eq!(here.add(&counter, 1, hour()).await.unwrap(), 2);
    }
    let a = key("lost");
    let _ = here.set(&a, value(), &SetOptions::new(hour())).await.unwrap();
    assert_eq!(here.remove_many(std::slice::from_ref(&a)).await.unwrap(), 1);
    scene.unknown(a.as_str(), here.set(&a, value(), &SetOptions::new(hour()))).await;
    assert_eq!(there.get(&a).await.unwrap(), Some(value()));
    scene.not_applied(a.as_str(), here.get(&a)).await;
    assert_eq!(here.get(&a).await.unwrap(), Some(value()));
    scene.unknown(a.as_str(), here.remove_many(std::slice::from_ref(&a))).await;
    assert_eq!(there.get(&a).await.unwrap(), None);
}

/// The reply to one command in the middle is lost, and with it all that come after it on that connection.
async fn batches(scene: &Scene) {
    let (here, there) = (scene.stores.cache_store().unwrap(), scene.other.cache_store().unwrap());
    let keys: Vec<_> = (0..20).map(|n| key(&format!("b{n}x"))).collect();
    let entries: Vec<_> = keys.iter().map(|key| entry(key, value())).collect();
    // So that every server knows the scripts.
    here.set_many(&entries).await.unwrap();
    assert_eq!(here.remove_many(&keys).await.unwrap(), 20);
    scene.unknown("b9x", here.set_many(&entries)).await;
    assert!(there.get_many(&keys).await.unwrap().iter().all(Option::is_some), "all were in one write");
    scene.not_applied("b9x", here.get_many(&keys)).await;
    assert_eq!(here.get_many(&keys).await.unwrap().len(), 20);
    scene.unknown("b9x", here.remove_many(&keys)).await;
    assert!(there.get_many(&keys).await.unwrap().iter().all(Option::is_none));
}

async fn sessions_and_tokens(scene: &Scene) {
    let (here, there) = (scene.stores.session_store().unwrap(), scene.other.session_store().unwrap());
    let _ = here.create(&service(), new_session()).await.unwrap();
    let lost = new_session();
    let hash = lost.id.hash_text();
    scene.unknown(&hash, here.create(&service(), lost)).await;
    assert_eq!(there.list(&service(), "u1").await.unwrap().len(), 2);
    // So that the server knows the script.
    assert_eq!(here.load(&service(), &session_id()).await.unwrap(), None);
    let listed = there.list(&service(), "u1").await.unwrap().remove(0);
    scene.not_applied(&hash, here.load(&service(), &listed.id)).await;

    let (here, there) = (scene.stores.token_store().unwrap(), scene.other.token_store().unwrap());
    let scope = Scope::User("marked".into());
    let first = here.revoke_all(&service(), &scope, hour()).await.unwrap();
    scene.unknown("marked", here.revoke_all(&service(), &scope, hour())).await;
    let epochs = there.epochs(&service(), std::slice::from_ref(&scope)).await.unwrap();
    assert!(epochs[0] > first);
    scene.not_applied("marked", here.epochs(&service(), &[scope])).await;
}

async fn limits(scene: &Scene) {
    let (here, there) = (scene.stores.rate_limiter().unwrap(), scene.other.rate_limiter().unwrap());
    assert!(here.check(&limit_key(), &tiers(), 1).await.unwrap().is_allowed());
    scene.unknown(limit_key().as_str(), here.check(&limit_key(), &tiers(), 1)).await;
    assert_eq!(there.peek(&limit_key(), &tiers()).await.unwrap()[0].remaining, 3, "charged once");
    here.peek(&limit_key(), &tiers()).await.unwrap();
    scene.not_applied(limit_key().as_str(), here.peek(&limit_key(), &tiers())).await;
}

async fn locks(scene: &Scene) {
    let (here, there) = (scene.stores.locker().unwrap(), scene.other.locker().unwrap());
    let _ = here.acquire(&lock_request()).await.unwrap();
    here.release(&lease()).await.unwrap();
    scene.unknown(":l:job", here.acquire(&lock_request())).await;
    let held = there.inspect(&lock_key()).await.unwrap();
    assert!(held.is_some(), "taken, and the holder does not know");
    // The same token may acquire again, and has the same lock.
    let again = here.acquire(&lock_request()).await.unwrap();
    assert!(format!("{again:?}").contains(&held.unwrap().0.to_string()), "{again:?}");
    here.release(&lease()).await.unwrap();

    // The façade undoes it: nobody holds a lock that nobody knows of.
    drop(scene.stores.locks().unwrap().acquire("undone").await.unwrap());
    eventually("the warm-up is released", || async {
        scene.other.locks().unwrap().try_acquire("undone").await?.ok_or_else(busy)
    })
    .await
    .release()
    .await
    .unwrap();
    becomes(&scene.stores, Health::Up).await;
    let dropped = scene.dropped();
    scene.proxies.iter().for_each(|proxy| proxy.drop_next_reply_to(":l:undone"));
    let error = failed(scene.stores.locks().unwrap().try_acquire("undone").await);
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::Unknown), "{error}");
    assert_eq!(scene.dropped() - dropped, 1);
    let free = eventually("it is free again", || async {
        scene.other.locks().unwrap().try_acquire("undone").await?.ok_or_else(busy)
    });
    free.await.release().await.unwrap();
}

fn busy() -> Error {
    Error::new(ErrorKind::Timeout, "somebody holds it")
}

async fn events(scene: &Scene) {
    let domain = SubscribeOptions::new(Name::new("user").unwrap());
    let mut subscription = scene.other.event_bus().unwrap().subscribe(domain).await.unwrap();
    let bus = scene.stores.event_bus().unwrap();
    let (lost, delivered) = (event(), event());
    scene.unknown(lost.id.as_str(), bus.publish(&lost)).await;
    bus.publish(&delivered).await.unwrap();
    for expected in [lost, delivered] {
        let received = tokio::time::timeout(TIMEOUT, subscription.next()).await.unwrap();
        let Some(Received::Event(received)) = received else { panic!("{received:?}") };
        assert_eq!(*received, expected, "each once");
    }
}
