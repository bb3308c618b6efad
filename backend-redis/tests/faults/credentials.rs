//! Passwords that change while connections live.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::cache::AllParts as _;
use stanchion::environment::Health;
use stanchion::event::standard::UserUpdated;
use stanchion::key::Namespace;
use stanchion::prelude::*;
use stanchion::{Effect, Error, ErrorKind, Result};
use stanchion_conformance::servers::{Cluster, RedisProcess, until};
use stanchion_redis::{Credentials, CredentialsProvider, RedisBackend, RedisConfig};

use crate::support::{
    Restored, TIMEOUT, becomes, cluster_config, config, eventually, facts, hour, key, raw, refused, send,
    soon,
};

/// A provider whose answer a case sets.
#[derive(Clone)]
struct Vault(Arc<Inner>);

struct Inner {
    answer: Mutex<Answer>,
    asked: AtomicUsize,
}

#[derive(Clone)]
enum Answer {
    Password(&'static str),
    /// For so long.
    Lasting(&'static str, Duration),
    Fails(ErrorKind),
    Hangs,
    Panics,
}

impl Vault {
    fn new(answer: Answer) -> Self {
        Self(Arc::new(Inner { answer: Mutex::new(answer), asked: AtomicUsize::new(0) }))
    }

    fn set(&self, answer: Answer) {
        *self.0.answer.lock().unwrap() = answer;
    }

    fn asked(&self) -> usize {
        self.0.asked.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl CredentialsProvider for Vault {
    async fn credentials(&self) -> Result<Credentials> {
        self.0.asked.fetch_add(1, Ordering::SeqCst);
        let answer = self.0.answer.lock().unwrap().clone();
        match answer {
            Answer::Password(password) => Ok(Credentials::new("svc", password)),
            Answer::Lasting(password, lifetime) => Ok(Credentials::new("svc", password).lifetime(lifetime)),
            Answer::Fails(kind) => Err(Error::new(kind, "sesame is the secret")),
            Answer::Hangs => std::future::pending().await,
            Answer::Panics => panic!("this panic is part of the case"),
        }
    }
}

/// A user who has this password and no other.
async fn only_password(server: &RedisProcess, password: &str) {
    let password = format!(">{password}");
    send(server, &["ACL", "SETUSER", "svc", "on", "resetpass", &password, "~*", "&*", "+@all"]).await;
}

/// How many connections of the service there are, and how many of them under which user.
async fn clients(server: &RedisProcess, user: &str) -> Vec<String> {
    let clients = send(server, &["CLIENT", "LIST"]).await.text();
    let user = format!(" user={user} ");
    clients.lines().filter(|line| line.contains(&user)).map(ToOwned::to_owned).collect()
}

/// The ids of the connections of the service, by the server.
async fn ids(server: &RedisProcess) -> Vec<String> {
    let clients = send(server, &["CLIENT", "LIST"]).await.text();
    let mut ids: Vec<_> = clients
        .lines()
        .filter(|line| line.contains("name=stanchion:"))
        .map(|line| line.split(' ').next().unwrap().to_owned())
        .collect();
    ids.sort();
    ids
}

async fn kill_all(server: &RedisProcess) {
    let mut admin = raw(server).await;
    redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
        .exec_async(&mut admin)
        .await
        .unwrap();
    redis::cmd("CLIENT")
        .arg(&["KILL", "TYPE", "pubsub", "SKIPME", "yes"])
        .exec_async(&mut admin)
        .await
        .unwrap();
}

fn with(server: &RedisProcess, vault: &Vault) -> RedisConfig {
    config(&server.url()).credentials_provider(vault.clone())
}

pub(crate) async fn each_connection_is_made_with_the_password_of_now() {
    let server = RedisProcess::start().await.unwrap();
    only_password(&server, "first").await;
    let vault = Vault::new(Answer::Password("first"));
    let stores = RedisBackend::connect(with(&server, &vault)).await.unwrap().stores();
    let cache = stores.cache_store().unwrap();
    cache.add(&key("n"), 1, hour()).await.unwrap();
    only_password(&server, "second").await;
    cache.add(&key("n"), 1, hour()).await.unwrap();
    vault.set(Answer::Password("second"));
    kill_all(&server).await;
    let n = key("n");
    assert_eq!(eventually("an addition", || cache.add(&n, 1, hour())).await, 3);
    // Another connection, for events.
    let mut events = stores.topic::<UserUpdated>().unwrap().subscribe().await.unwrap();
    let event = UserUpdated { user_id: "u1".into(), changed: vec![] };
    stores.topic::<UserUpdated>().unwrap().publish(&event).await.unwrap();
    assert!(matches!(events.next().await, Some(Delivery::Event { .. })));
    assert_eq!(clients(&server, "svc").await.len(), 2);
    // The old password lets nobody in any more.
    vault.set(Answer::Password("first"));
    assert_eq!(refused(with(&server, &vault)).await.kind(), ErrorKind::Denied);
}

/// Connections for commands, events and invalidations are authenticated anew, and none of them is closed.
pub(crate) async fn connections_that_live_are_authenticated_anew_in_time() {
    let server = RedisProcess::start().await.unwrap();
    only_password(&server, "first").await;
    let lifetime = Duration::from_secs(2);
    let vault = Vault::new(Answer::Lasting("first", lifetime));
    let stores = RedisBackend::connect(with(&server, &vault)).await.unwrap().stores();
    let restored = Arc::new(Restored::default());
    let namespace = Namespace::new("cache", "fault").unwrap();
    let _watch = stores.cache_store().unwrap().watch(&namespace, restored.clone()).unwrap();
    let topic = stores.topic::<UserUpdated>().unwrap();
    let mut events = topic.subscribe().await.unwrap();
    soon("the feed is up", || restored.times() == 1).await;
    let before = ids(&server).await;
    assert_eq!(before.len(), 3, "{before:?}");

    send(&server, &["ACL", "SETUSER", "svc", ">second"]).await;
    vault.set(Answer::Lasting("second", lifetime));
    // Whoever asked last before that has sent the old password by the time of the next but one.
    for password in [None, Some("second")] {
        if let Some(password) = password {
            only_password(&server, password).await;
        }
        let asked = vault.asked();
        soon("it is asked again, and again", || vault.asked() >= asked + 2).await;
    }
    stores.cache_store().unwrap().add(&key("n"), 1, hour()).await.unwrap();
    topic.publish(&UserUpdated { user_id: "u1".into(), changed: vec![] }).await.unwrap();
    assert!(matches!(events.next().await, Some(Delivery::Event { .. })), "and no gap");
    assert_eq!(ids(&server).await, before);
    assert_eq!(restored.times(), 1, "the feed was never lost");
    let stats = send(&server, &["INFO", "commandstats"]).await.text();
    let auths = stats.lines().find(|line| line.starts_with("cmdstat_auth:")).unwrap();
    let calls: usize = auths.split(['=', ',']).nth(1).unwrap().parse().unwrap();
    assert!(calls >= 6 && auths.contains("failed_calls=0"), "{auths}");
}

/// What the server refuses is tried again, and when the credentials are over the connection is made anew.
pub(crate) async fn what_is_refused_until_it_has_ended_is_given_up() {
    let server = RedisProcess::start().await.unwrap();
    only_password(&server, "first").await;
    let vault = Vault::new(Answer::Lasting("first", Duration::from_secs(2)));
    let stores = RedisBackend::connect(with(&server, &vault)).await.unwrap().stores();
    let cache = stores.cache_store().unwrap();
    vault.set(Answer::Lasting("not-yet-known", Duration::from_secs(2)));
    becomes(&stores, Health::Down).await;
    let error = eventually("the reason", || async {
        match cache.add(&key("n"), 1, hour()).await {
            Err(error) if error.kind() == ErrorKind::Denied => Ok(error),
            other => Err(Error::invalid(format!("{other:?}"))),
        }
    });
    assert!(!format!("{:?}", error.await).contains("not-yet-known"));
    only_password(&server, "not-yet-known").await;
    becomes(&stores, Health::Up).await;
}

/// No worse than without it: what the server still takes goes on while the provider is away.
pub(crate) async fn a_provider_that_is_away_ends_no_connection() {
    let server = RedisProcess::start().await.unwrap();
    only_password(&server, "first").await;
    let vault = Vault::new(Answer::Lasting("first", Duration::from_secs(1)));
    let stores = RedisBackend::connect(with(&server, &vault)).await.unwrap().stores();
    let before = ids(&server).await;
    let asked = vault.asked();
    vault.set(Answer::Fails(ErrorKind::Unavailable));
    soon("it is asked again and again", || vault.asked() >= asked + 3).await;
    assert_eq!(stores.health().current(), Health::Up);
    assert_eq!(ids(&server).await, before);
    vault.set(Answer::Password("first"));
    let asked = vault.asked();
    soon("it is asked once more", || vault.asked() > asked).await;
    stores.cache_store().unwrap().add(&key("n"), 1, hour()).await.unwrap();
}

pub(crate) async fn a_provider_that_is_broken_is_said_without_its_words() {
    let server = RedisProcess::start().await.unwrap();
    for (answer, kind, attempts) in [
        (Answer::Hangs, ErrorKind::Timeout, 2),
        (Answer::Fails(ErrorKind::Unavailable), ErrorKind::Unavailable, 2),
        (Answer::Fails(ErrorKind::Denied), ErrorKind::Denied, 1),
        (Answer::Panics, ErrorKind::Internal, 1),
    ] {
        let vault = Vault::new(answer);
        let settings = with(&server, &vault).deadline(Duration::from_millis(100)).connect_attempts(2);
        assert!(!format!("{settings:?}").contains("sesame"));
        let error = refused(settings).await;
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(vault.asked(), attempts, "{error}");
        assert!(error.to_string().contains("credentials provider"), "{error}");
        assert!(!format!("{error} {error:?} {error:#?}").contains("sesame"), "{error:?}");
    }
}

pub(crate) async fn a_password_is_rotated_by_hand() {
    let server = RedisProcess::start().await.unwrap();
    only_password(&server, "first").await;
    let url = server.url().replace("redis://", "redis://svc:first@");
    let backend = RedisBackend::connect(config(&url)).await.unwrap();
    let stores = backend.stores();
    let _events = stores.topic::<UserUpdated>().unwrap().subscribe().await.unwrap();
    let before = ids(&server).await;
    assert_eq!(before.len(), 2);
    // One that is wrong changes nothing.
    let error = backend.reset_with(Credentials::new("svc", "sesame-wrong")).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Denied, Effect::NotApplied), "{error}");
    assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
    assert_eq!(ids(&server).await, before);
    kill_all(&server).await;
    becomes(&stores, Health::Up).await;

    send(&server, &["ACL", "SETUSER", "svc", ">second"]).await;
    soon("both are back", || stores.health().current() == Health::Up).await;
    let before = ids(&server).await;
    backend.reset_with(Credentials::new("svc", "second")).await.unwrap();
    send(&server, &["ACL", "SETUSER", "svc", "<first"]).await;
    assert_eq!(ids(&server).await, before, "none was closed");
    stores.cache_store().unwrap().add(&key("n"), 1, hour()).await.unwrap();
    kill_all(&server).await;
    eventually("an addition", || async { stores.cache_store()?.add(&key("n"), 1, hour()).await }).await;
    assert!(!format!("{backend:?}").contains("second"));
    // As another user, whose rights the connections have from then on.
    send(&server, &["ACL", "SETUSER", "other", "on", ">third", "~*", "&*", "+@all"]).await;
    backend.reset_with(Credentials::new("other", "third")).await.unwrap();
    assert_eq!(clients(&server, "svc").await, Vec::<String>::new());
}

/// The server may carry out what it has not answered: no connection stays as a user that the others are not.
pub(crate) async fn what_may_have_been_taken_is_made_anew() {
    let server = RedisProcess::start().await.unwrap();
    only_password(&server, "first").await;
    send(&server, &["ACL", "SETUSER", "other", "on", ">third", "~*", "&*", "+@all"]).await;
    let url = server.url().replace("redis://", "redis://svc:first@");
    let short = config(&url).deadline(Duration::from_millis(200));
    let backend = RedisBackend::connect(short).await.unwrap();
    let stores = backend.stores();
    server.pause().unwrap();
    let error = backend.reset_with(Credentials::new("other", "third")).await.unwrap_err();
    assert_eq!(facts(&error), (ErrorKind::Timeout, Effect::Unknown), "{error}");
    server.resume().unwrap();
    eventually("an addition", || async { stores.cache_store()?.add(&key("n"), 1, hour()).await }).await;
    // The old connection ends when the server gets round to it.
    let left = until("nobody is the other user", TIMEOUT, || async {
        let others = clients(&server, "other").await;
        if others.is_empty() { Ok(()) } else { Err(format!("{others:?}")) }
    });
    left.await.unwrap();
    assert_eq!(clients(&server, "svc").await.len(), 1);
}

pub(crate) async fn on_a_cluster_each_node_is_authenticated_anew() {
    let cluster = Cluster::start().await.unwrap();
    for node in cluster.nodes() {
        only_password(node, "first").await;
    }
    let vault = Vault::new(Answer::Password("first"));
    let config = cluster_config(&cluster.urls()).credentials_provider(vault.clone());
    let backend = RedisBackend::connect(config).await.unwrap();
    let stores = backend.stores();
    let mut before = Vec::new();
    for node in cluster.nodes() {
        send(node, &["ACL", "SETUSER", "svc", ">second"]).await;
        before.push(ids(node).await);
    }
    vault.set(Answer::Password("second"));
    backend.renew_credentials().await.unwrap();
    for (node, before) in cluster.nodes().iter().zip(before) {
        assert!(!before.is_empty());
        assert_eq!(ids(node).await, before);
        only_password(node, "second").await;
        kill_all(node).await;
    }
    becomes(&stores, Health::Up).await;
    backend.renew_credentials().await.unwrap();
}
