//! The work: tasks that use every façade until they are stopped.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use stanchion::cache::{Cache, Tag};
use stanchion::environment::Health;
use stanchion::event::Delivery;
use stanchion::event::standard::UserUpdated;
use stanchion::limit::Limits;
use stanchion::lock::Locks;
use stanchion::random::{Random, SystemRandom};
use stanchion::session::{Patch, SessionLimit, Sessions};
use stanchion::stores::Stores;
use stanchion::time::Timestamp;
use stanchion::token::{Scope, Tokens};
use stanchion::{Error, ErrorKind};
use stanchion_memory::MokaNear;
use stanchion_redis::{RedisBackend, RedisConfig};
use tokio::task::JoinSet;

use crate::Failure;
use crate::timing::pause;

/// So many tasks of each kind.
const EACH: usize = 4;
const KEYS: usize = 2_000;
const USERS: usize = 200;
const LOCKS: usize = 20;
/// Within what time everything works again after a disturbance.
const RECOVERY: Duration = Duration::from_secs(10);
/// Everything that is stored has ended after twice this and the skew of clocks, but for what is kept for each name.
pub(super) const LIFE: Duration = Duration::from_secs(20);

/// What is used, and how often it was.
pub(super) struct Work {
    backend: RedisBackend,
    config: RedisConfig,
    calls: Arc<AtomicUsize>,
    outages: Arc<AtomicUsize>,
}

impl Work {
    pub(super) fn new(backend: RedisBackend, config: RedisConfig) -> Self {
        Self { backend, config, calls: Arc::default(), outages: Arc::default() }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls.load(Ordering::Relaxed)
    }

    pub(super) fn outages(&self) -> usize {
        self.outages.load(Ordering::Relaxed)
    }

    /// Whether everything works again when a round is over: each façade is asked once, and fails for nothing.
    pub(super) async fn is_well(&self) -> Result<(), Failure> {
        let stores = self.backend.stores();
        let mut health = stores.health();
        let up = async {
            while health.current() != Health::Up {
                health.changed().await;
            }
        };
        tokio::time::timeout(RECOVERY, up).await.map_err(|_| "it is not up again")?;
        stores.cache::<u64>("well").ttl(LIFE).build()?.set(1, &1).await?;
        let sessions = stores.sessions().idle_timeout(LIFE).absolute_timeout(2 * LIFE).build()?;
        let opened = sessions.create("well", Patch::new()).await?.ok_or("nobody is let in")?;
        let _ended = sessions.destroy(&opened.token).await?;
        let _epoch = stores.tokens().max_life(LIFE).build()?.revoke_user("well").await?;
        let _decision = stores.limits("well").per_second(5).build()?.check("well").await?;
        // For long enough to be renewed, so that the connection and the thread of renewals are counted from the first round on.
        let lock = stores.locks()?.acquire("well").lease(Duration::from_secs(1)).await?;
        pause(Duration::from_millis(1_200)).await;
        let _released = lock.release().await?;
        let topic = stores.topic::<UserUpdated>()?;
        let mut events = topic.subscribe().await?;
        topic.publish(&UserUpdated { user_id: "well".into(), changed: Vec::new() }).await?;
        let delivered = tokio::time::timeout(RECOVERY, events.next()).await?;
        if !matches!(delivered, Some(Delivery::Event { .. })) {
            return Err(format!("no event arrives: {delivered:?}").into());
        }
        Ok(())
    }

    /// Begins the tasks of a round, which share nothing with those of another but the backend.
    pub(super) fn begin(&self) -> Working {
        let user = User {
            stores: self.backend.stores(),
            calls: Arc::clone(&self.calls),
            outages: Arc::clone(&self.outages),
            stopped: Arc::default(),
        };
        let stopped = Arc::clone(&user.stopped);
        let mut tasks = JoinSet::new();
        for _ in 0..EACH {
            tasks.spawn(cache(user.clone()));
            tasks.spawn(sessions(user.clone()));
            tasks.spawn(tokens(user.clone()));
            tasks.spawn(locks(user.clone()));
            tasks.spawn(limits(user.clone()));
            tasks.spawn(events(user.clone()));
        }
        tasks.spawn(connections(user, self.config.clone()));
        Working { tasks, stopped }
    }
}

/// The tasks of a round.
pub(super) struct Working {
    tasks: JoinSet<Result<(), Failure>>,
    stopped: Arc<AtomicBool>,
}

impl Working {
    /// Ends when all of them have.
    pub(super) async fn end(mut self) -> Result<(), Failure> {
        self.stopped.store(true, Ordering::Relaxed);
        while let Some(ended) = self.tasks.join_next().await {
            ended??;
        }
        Ok(())
    }
}

/// What each task has.
#[derive(Clone)]
struct User {
    stores: Stores,
    calls: Arc<AtomicUsize>,
    outages: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
}

impl User {
    fn goes_on(&self) -> bool {
        !self.stopped.load(Ordering::Relaxed)
    }

    /// Counts a call. What an outage explains is no failure.
    async fn ask<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<Option<T>, Failure> {
        self.calls.fetch_add(1, Ordering::Relaxed);
        match call.await {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => {
                self.outages.fetch_add(1, Ordering::Relaxed);
                pause(Duration::from_millis(20)).await;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

async fn cache(user: User) -> Result<(), Failure> {
    let near = MokaNear::entries(500);
    let cache: Cache<String> = user
        .stores
        .cache("soak")
        .ttl(LIFE)
        .tags(|_| Tag::new("all").into_iter().collect())
        .near(near)
        .build()?;
    let tag = Tag::new("all")?;
    while user.goes_on() {
        let id = any(KEYS)?;
        let load = move || async move { Ok::<_, Error>(format!("value {id} {}", "x".repeat(id % 300))) };
        let loading =
            async { cache.get_or_load(id, load).await.map_err(|error| Error::invalid(error.to_string())) };
        let _value = user.ask(loading).await?;
        match id % 50 {
            0 => drop(user.ask(cache.remove(id)).await?),
            1 => drop(user.ask(cache.set(id, &"other".to_owned())).await?),
            2 if id < 100 => drop(user.ask(cache.invalidate_tag(&tag)).await?),
            3 => {
                let ids: Vec<usize> = (id..id + 20).collect();
                drop(user.ask(cache.get_many(&ids)).await?);
            }
            _ => {}
        }
    }
    Ok(())
}

async fn sessions(user: User) -> Result<(), Failure> {
    let tokens = user.stores.tokens().max_life(LIFE).build()?;
    let sessions: Sessions = user
        .stores
        .sessions()
        .idle_timeout(LIFE)
        .absolute_timeout(2 * LIFE)
        .limit(SessionLimit::EvictOldest(3))
        .revoking_tokens(&tokens)
        .build()?;
    while user.goes_on() {
        let name = format!("user-{}", any(USERS)?);
        let fields = Patch::new().value("device", "soak")?;
        let Some(Some(opened)) = user.ask(sessions.create(&name, fields)).await? else { continue };
        let _view = user.ask(sessions.load(&opened.token)).await?;
        let _saved = user.ask(sessions.patch(&opened.token, &Patch::new().value("n", &1)?)).await?;
        match any(4)? {
            0 => drop(user.ask(sessions.destroy(&opened.token)).await?),
            1 => drop(user.ask(sessions.destroy_all(&name, None)).await?),
            2 => drop(user.ask(sessions.list(&name)).await?),
            _ => {}
        }
    }
    Ok(())
}

async fn tokens(user: User) -> Result<(), Failure> {
    let tokens: Tokens = user.stores.tokens().max_life(LIFE).build()?;
    while user.goes_on() {
        let id = any(KEYS)?;
        // By the server's time, as near as this process knows it.
        let expires = user.stores.cache_store()?.now();
        let expires = Timestamp::from_micros(expires.as_micros() + 10_000_000);
        let _revoked = user.ask(tokens.revoke(&format!("jti-{id}"), expires)).await?;
        let _revoked = user.ask(tokens.revoke_scope(&Scope::User(format!("user-{}", id % USERS)))).await?;
    }
    Ok(())
}

async fn locks(user: User) -> Result<(), Failure> {
    let locks: Locks = user.stores.locks()?;
    while user.goes_on() {
        let waiting = locks.acquire(format!("lock-{}", any(LOCKS)?)).lease(Duration::from_secs(2));
        let Some(Some(guard)) = user.ask(waiting.wait(Duration::from_millis(100)).attempt()).await? else {
            continue;
        };
        match any(3)? {
            0 => drop(guard),
            1 => drop(user.ask(guard.release()).await?),
            _ => drop(guard.run(pause(Duration::from_millis(5))).await),
        }
    }
    Ok(())
}

async fn limits(user: User) -> Result<(), Failure> {
    let limits: Limits = user.stores.limits("soak").per_second(5).build()?;
    while user.goes_on() {
        let _decision = user.ask(limits.check(any(KEYS)?)).await?;
    }
    Ok(())
}

async fn events(user: User) -> Result<(), Failure> {
    let topic = user.stores.topic::<UserUpdated>()?;
    while user.goes_on() {
        let Some(mut events) = user.ask(topic.subscribe()).await? else { continue };
        for _ in 0..20 {
            let event = UserUpdated { user_id: "u1".into(), changed: vec!["name".into()] };
            let _id = user.ask(topic.publish(&event)).await?;
        }
        // In an outage none may come.
        let _some = tokio::time::timeout(Duration::from_millis(50), events.next()).await;
    }
    Ok(())
}

/// Backends that come and go.
async fn connections(user: User, config: RedisConfig) -> Result<(), Failure> {
    while user.goes_on() {
        if let Some(backend) = user.ask(RedisBackend::connect(config.clone())).await? {
            let stores = backend.stores();
            let _value = user.ask(stores.limits("other").per_second(5).build()?.check("u1")).await?;
            let _closed = user.ask(stores.close(Duration::from_secs(5))).await?;
        }
        pause(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// A number below this one.
fn any(below: usize) -> Result<usize, Failure> {
    let mut chance = [0; 8];
    SystemRandom.fill(&mut chance)?;
    Ok(usize::try_from(u64::from_le_bytes(chance) % u64::try_from(below)?)?)
}
