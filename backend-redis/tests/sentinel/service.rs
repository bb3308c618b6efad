//! A service that uses everything.

use std::time::Duration;

use stanchion::cache::Cache;
use stanchion::environment::Health;
use stanchion::event::standard::UserUpdated;
use stanchion::event::{Delivery, Events};
use stanchion::key::{Key, Name};
use stanchion::limit::Tier;
use stanchion::lock::{AcquireOutcome, Fence, LockRequest, LockToken};
use stanchion::random::SystemRandom;
use stanchion::session::{HashingKey, NewSession, SessionId, SessionLimit, SessionToken};
use stanchion::stores::Stores;
use stanchion::time::{Timestamp, Ttl};
use stanchion::token::{Mark, Scope, TokenFacts, Verdict};
use stanchion::{Error, Result};
use stanchion_conformance::servers::{RedisProcess, until};
use stanchion_memory::MokaNear;
use stanchion_redis::RedisConfig;

use crate::support::{TIMEOUT, becomes, connect, connections, eventually, send};

/// After a promotion errors end within so long: pauses between attempts end after 2 seconds, and a deadline after 1.
const SOON: Duration = Duration::from_secs(10);

/// A service with a near cache and a subscription.
pub(crate) struct Service {
    pub(crate) stores: Stores,
    names: Cache<String>,
    events: Events<UserUpdated>,
}

/// What was done before a failover, and must not be undone by it.
pub(crate) struct Done {
    destroyed: SessionId,
    living: SessionId,
    fence: Fence,
}

fn hour() -> Ttl {
    Ttl::new(Duration::from_hours(1)).unwrap()
}

fn auth() -> Name {
    Name::new("auth").unwrap()
}

pub(crate) fn names(stores: &Stores) -> Cache<String> {
    stores.cache("user").ttl(Duration::from_hours(1)).near(MokaNear::entries(10)).build().unwrap()
}

fn updated(id: &str) -> UserUpdated {
    UserUpdated { user_id: id.to_owned(), changed: Vec::new() }
}

fn token() -> TokenFacts {
    TokenFacts::new("j1", vec![(Scope::Service, Mark::IssuedAt(Timestamp::from_secs(1)))])
}

impl Service {
    pub(crate) async fn start(config: RedisConfig) -> Self {
        let stores = connect(config).await;
        let names = names(&stores);
        let events = stores.topic::<UserUpdated>().unwrap().subscribe().await.unwrap();
        let service = Self { stores, names, events };
        service.names.set("u1", &"old".to_owned()).await.unwrap();
        service.is_near().await;
        service
    }

    /// Waits until the name is served from this process.
    pub(crate) async fn is_near(&self) {
        until("a near hit", TIMEOUT, || async {
            let before = self.names.stats().near_hits;
            self.names.get("u1").await.map_err(|error| error.to_string())?;
            if self.names.stats().near_hits > before { Ok(()) } else { Err("not yet".to_owned()) }
        })
        .await
        .unwrap();
    }

    async fn opened(&self) -> Result<SessionId> {
        let id = HashingKey::unkeyed().session_id(&SessionToken::generate("u1", &SystemRandom)?);
        let new = NewSession::new(id.clone(), "u1", hour(), hour(), SessionLimit::Reject(99));
        let _ = self.stores.session_store()?.create(&auth(), new).await?;
        Ok(id)
    }

    /// Another lock holder at each call; answers its fencing token.
    async fn fence(&self) -> Result<Fence> {
        let request = LockRequest::new(Key::new("locks", "lock", "job")?, LockToken::new([1; 16]), hour());
        let locker = self.stores.locker()?;
        let AcquireOutcome::Acquired(lease) = locker.acquire(&request).await? else {
            return Err(Error::invalid("somebody else has the lock"));
        };
        let _ = locker.release(&lease).await?;
        Ok(lease.fence)
    }

    /// What is to last, and has reached the replicas of this master.
    pub(crate) async fn works_at(&self, master: &RedisProcess) -> Done {
        let sessions = self.stores.session_store().unwrap();
        let (destroyed, living) = (self.opened().await.unwrap(), self.opened().await.unwrap());
        let _ = sessions.destroy(&auth(), &destroyed).await.unwrap();
        self.stores.token_store().unwrap().revoke(&auth(), "j1", hour()).await.unwrap();
        self.fence().await.unwrap();
        let fence = self.fence().await.unwrap();
        let info = async || send(master, &["INFO", "replication"]).await.text();
        let numbers = |info: &str, name: &str| -> Vec<u64> {
            let fields = info.split(['\r', '\n', ',']).filter_map(|field| field.strip_prefix(name));
            fields.map(|number| number.parse().unwrap()).collect()
        };
        // What is written after that is of no account: sentinels write too.
        let written = numbers(&info().await, "master_repl_offset:")[0];
        let replicated = until("the replicas have it", TIMEOUT, || async {
            let info = info().await;
            let read = numbers(&info, "offset=");
            if read.len() == 2 && read.iter().all(|read| *read >= written) { Ok(()) } else { Err(info) }
        });
        replicated.await.unwrap();
        Done { destroyed, living, fence }
    }

    /// Every call is served again.
    pub(crate) async fn goes_on(&self) {
        let new = "new".to_owned();
        eventually("a write", SOON, || self.names.set("u2", &new)).await;
        becomes(&self.stores, Health::Up).await;
        eventually("a session", SOON, || self.opened()).await;
        let limit = (
            Key::new("rate_limit", "login", "u1").unwrap(),
            [Tier::new(99, Duration::from_hours(1)).unwrap()],
        );
        let limiter = self.stores.rate_limiter().unwrap();
        let _ = eventually("a limit", SOON, || limiter.check(&limit.0, &limit.1, 1)).await;
    }

    /// Nothing of what was done is undone.
    pub(crate) async fn keeps(&self, done: &Done) {
        let sessions = self.stores.session_store().unwrap();
        assert!(sessions.load(&auth(), &done.destroyed).await.unwrap().is_none(), "it was destroyed");
        assert!(sessions.load(&auth(), &done.living).await.unwrap().is_some());
        let verdict = self.stores.token_store().unwrap().check(&auth(), &token()).await.unwrap();
        assert_ne!(verdict, Verdict::Active, "it was revoked");
        let fence = self.fence().await.unwrap();
        assert!(fence > done.fence, "{fence:?} after {:?}", done.fence);
    }

    /// Commands, subscriptions and invalidations are at this server.
    pub(crate) async fn is_served_by(&self, server: &RedisProcess) {
        until("all connections are there", TIMEOUT, || async {
            let found = connections(server).await;
            let all = ["commands", "invalidations", "subscriptions"];
            if all.iter().all(|one| found.iter().any(|other| other == one)) {
                Ok(())
            } else {
                Err(format!("{found:?}"))
            }
        })
        .await
        .unwrap();
    }

    /// What another process changes is seen, and what it publishes arrives.
    pub(crate) async fn sees(&mut self, other: &Stores) {
        let next = tokio::time::timeout(TIMEOUT, self.events.next()).await;
        assert!(matches!(next, Ok(Some(Delivery::Reconnected))), "{next:?}");
        self.is_near().await;
        let theirs = names(other);
        for text in ["1", "2", "3"] {
            let value = text.to_owned();
            eventually("their write", SOON, || theirs.set("u1", &value)).await;
            until("their value", TIMEOUT, || async {
                match self.names.get("u1").await {
                    Ok(Some(name)) if *name == text => Ok(()),
                    other => Err(format!("{other:?}")),
                }
            })
            .await
            .unwrap();
        }
        let topic = other.topic::<UserUpdated>().unwrap();
        let event = updated("there");
        eventually("it is published", SOON, || topic.publish(&event)).await;
        loop {
            match tokio::time::timeout(TIMEOUT, self.events.next()).await {
                Ok(Some(Delivery::Event { data, .. })) if data.user_id == "there" => break,
                Ok(Some(Delivery::Reconnected)) => {}
                other => panic!("{other:?}"),
            }
        }
    }
}
