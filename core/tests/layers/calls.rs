//! One call of every method of every store.

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stanchion::Result;
use stanchion::cache::{Fill, LeaseRequest, LeaseToken, Release, SetEntry, SetOptions, Tag, Want};
use stanchion::clock::SystemClock;
use stanchion::environment::HashingKey;
use stanchion::event::{Envelope, EventId, EventType, SubscribeOptions};
use stanchion::key::{Key, Name};
use stanchion::limit::{AttemptRequest, LeaseRequest as PlaceRequest, Lockout, Settlement, Tier};
use stanchion::lock::{Fence, Lease, LockRequest, LockToken};
use stanchion::random::{SeededRandom, SystemRandom};
use stanchion::session::outbox::{PublisherId, ReapCursor};
use stanchion::session::{NewSession, Patch, Rotation, SessionId, SessionLimit, SessionToken};
use stanchion::stores::Stores;
use stanchion::time::{Timestamp, Ttl, seconds};
use stanchion::token::{
    FamilyId, NewFamily, RefreshHash, Rotation as FamilyRotation, Salt, Scope, TokenFacts, TokenSettings,
};

/// An operation, and a call of it that has not begun.
pub(crate) type Made = (&'static str, Pin<Box<dyn Future<Output = Result<()>>>>);

fn made<S: ?Sized + 'static>(
    operation: &'static str,
    store: &Arc<S>,
    call: impl AsyncFnOnce(Arc<S>) -> Result<()> + 'static,
) -> Made {
    let store = Arc::clone(store);
    (operation, Box::pin(async move { call(store).await }))
}

pub(crate) fn key() -> Key {
    Key::new("cache", "n", "secret-key").unwrap()
}

pub(crate) fn ttl() -> Ttl {
    Ttl::new(seconds(60)).unwrap()
}

fn name() -> Name {
    Name::new("app").unwrap()
}

pub(crate) fn id() -> SessionId {
    let token = SessionToken::generate("secret-user", &SeededRandom::new(1)).unwrap();
    HashingKey::unkeyed().session_id(&token)
}

fn publisher() -> PublisherId {
    PublisherId::generate(&SeededRandom::new(2)).unwrap()
}

pub(crate) fn lock() -> LockRequest {
    LockRequest::new(key(), LockToken::new([7; 16]), ttl())
}

fn lease() -> Lease {
    Lease::new(key(), LockToken::new([7; 16]), Fence::new(1), ttl())
}

fn tiers() -> [Tier; 1] {
    [Tier::new(5, seconds(60)).unwrap()]
}

pub(crate) fn every(stores: &Stores) -> Vec<Made> {
    let all = [cache(stores), cache_parts(stores), sessions_and_events(stores), the_rest(stores)];
    all.into_iter().flatten().collect()
}

fn cache(stores: &Stores) -> Vec<Made> {
    let cache = stores.cache_store().unwrap();
    vec![
        made("cache.get", &cache, async |cache| cache.get(&key()).await.map(drop)),
        made("cache.get_many", &cache, async |cache| cache.get_many(&[key()]).await.map(drop)),
        made("cache.get_many_with_ttl", &cache, async |cache| {
            cache.get_many_with_ttl(&[key()]).await.map(drop)
        }),
        made("cache.set", &cache, async |cache| {
            cache.set(&key(), Bytes::from("1"), &SetOptions::new(ttl())).await.map(|_| ())
        }),
        made("cache.set_many", &cache, async |cache| {
            let entry = SetEntry::new(key(), Bytes::from("1"), SetOptions::new(ttl()));
            cache.set_many(&[entry]).await.map(drop)
        }),
        made("cache.remove_many", &cache, async |cache| cache.remove_many(&[key()]).await.map(drop)),
        made("cache.touch", &cache, async |cache| cache.touch(&key(), ttl()).await.map(drop)),
        made("cache.ttl", &cache, async |cache| cache.ttl(&key()).await.map(drop)),
    ]
}

fn cache_parts(stores: &Stores) -> Vec<Made> {
    let cache = stores.cache_store().unwrap();
    let token = LeaseToken::new([7; 16]);
    let tags = || [Tag::new("t").unwrap()];
    vec![
        made("cache.fetch", &cache, async move |cache| {
            let request = LeaseRequest::new(key(), token, ttl(), Want::Anyway);
            cache.leases().unwrap().fetch(&[request]).await.map(drop)
        }),
        made("cache.fill", &cache, async move |cache| {
            let fill = Fill::new(key(), token, Bytes::from("1"), ttl());
            cache.leases().unwrap().fill(&[fill]).await.map(drop)
        }),
        made("cache.release", &cache, async move |cache| {
            cache.leases().unwrap().release(&[Release::new(key(), token)]).await
        }),
        made("cache.generations", &cache, async move |cache| {
            cache.tags().unwrap().generations(&tags()).await.map(drop)
        }),
        made("cache.bump", &cache, async move |cache| cache.tags().unwrap().bump(&tags()).await.map(drop)),
        made("cache.add", &cache, async |cache| {
            let counter = Key::new("counter", "n", "secret-key").unwrap();
            cache.counters().unwrap().add(&counter, 1, ttl()).await.map(drop)
        }),
    ]
}

fn sessions_and_events(stores: &Stores) -> Vec<Made> {
    let (sessions, events) = (stores.session_store().unwrap(), stores.event_bus().unwrap());
    vec![
        made("session.create", &sessions, async |sessions| {
            let session =
                NewSession::new(id(), "secret-user", ttl(), ttl(), SessionLimit::EvictLeastRecent(5));
            sessions.create(&name(), session).await.map(|_| ())
        }),
        made("session.load", &sessions, async |sessions| sessions.load(&name(), &id()).await.map(drop)),
        made("session.use", &sessions, async |sessions| sessions.use_session(&name(), &id()).await.map(drop)),
        made("session.patch", &sessions, async |sessions| {
            sessions.patch(&name(), &id(), &Patch::new()).await.map(|_| ())
        }),
        made("session.touch", &sessions, async |sessions| sessions.touch(&name(), &id()).await.map(|_| ())),
        made("session.rotate", &sessions, async |sessions| {
            let token = SessionToken::beside(&id(), &SystemRandom)?;
            let rotation = Rotation::to(HashingKey::unkeyed().session_id(&token));
            sessions.rotate(&name(), "secret-user", &id(), &rotation).await.map(|_| ())
        }),
        made("session.list", &sessions, async |sessions| {
            sessions.list(&name(), "secret-user").await.map(drop)
        }),
        made("session.destroy", &sessions, async |sessions| sessions.destroy(&name(), &id()).await.map(drop)),
        made("session.destroy_all", &sessions, async |sessions| {
            sessions.destroy_all(&name(), "secret-user", None).await.map(drop)
        }),
        made("session.lead", &sessions, async |sessions| {
            sessions.outbox().unwrap().lead(&name(), &publisher(), ttl()).await.map(drop)
        }),
        made("session.reap", &sessions, async |sessions| {
            sessions.outbox().unwrap().reap(&name(), ReapCursor::default(), 1).await.map(drop)
        }),
        made("session.read_outbox", &sessions, async |sessions| {
            let outbox = sessions.outbox().unwrap();
            outbox.read(&name(), outbox.outbox_of(&id()), &publisher(), ttl(), 1).await.map(drop)
        }),
        made("session.acknowledge", &sessions, async |sessions| {
            let outbox = sessions.outbox().unwrap();
            outbox.acknowledge(&name(), outbox.outbox_of(&id()), &publisher(), &[]).await.map(drop)
        }),
        made("event.publish", &events, async |events| {
            let id = EventId::generate(&SystemClock, &SystemRandom)?;
            let kind = EventType::new("user.updated")?;
            let data = serde_json::Value::Null;
            events.publish(&Envelope::new(id, "app", kind, Timestamp::from_secs(1), data)).await
        }),
        made("event.subscribe", &events, async |events| {
            events.subscribe(SubscribeOptions::new(Name::new("user")?)).await.map(drop)
        }),
    ]
}

fn family() -> FamilyId {
    FamilyId::new([1; 32])
}

fn lockout() -> Lockout {
    let minute = Duration::from_mins(1);
    Lockout::new(5, minute, minute, minute, minute).unwrap()
}

fn the_rest(stores: &Stores) -> Vec<Made> {
    let locks = stores.locker().unwrap();
    let (limits, tokens) = (stores.rate_limiter().unwrap(), stores.token_store().unwrap());
    vec![
        made("lock.acquire", &locks, async |locks| locks.acquire(&lock()).await.map(|_| ())),
        made("lock.renew", &locks, async |locks| locks.renew(&[lease()]).await.map(drop)),
        made("lock.release", &locks, async |locks| locks.release(&lease()).await.map(|_| ())),
        made("lock.inspect", &locks, async |locks| locks.inspect(&key()).await.map(drop)),
        made("limit.check", &limits, async |limits| limits.check(&key(), &tiers(), 1).await.map(|_| ())),
        made("limit.peek", &limits, async |limits| limits.peek(&key(), &tiers()).await.map(drop)),
        made("limit.take_up_to", &limits, async |limits| {
            limits.take_up_to(&key(), &tiers(), 1).await.map(|_| ())
        }),
        made("limit.add", &limits, async |limits| limits.add(&key(), 1, ttl()).await.map(drop)),
        made("limit.reset", &limits, async |limits| limits.reset(&key()).await),
        made("limit.lease", &limits, async |limits| {
            limits.lease(&key(), &PlaceRequest::new("secret-holder", 1, ttl())).await.map(drop)
        }),
        made("limit.give_back", &limits, async |limits| {
            limits.give_back(&key(), "secret-holder").await.map(drop)
        }),
        made("limit.attempt", &limits, async |limits| {
            limits.attempt(&key(), &AttemptRequest::new(lockout())).await.map(drop)
        }),
        made("limit.settle", &limits, async |limits| limits.settle(&key(), &Settlement::Unlocked).await),
        made("limit.refund", &limits, async |limits| limits.refund(&key(), &tiers(), 1).await),
        made("token.revoke", &tokens, async |tokens| tokens.revoke(&name(), "secret-jti", ttl()).await),
        made("token.revoke_all", &tokens, async |tokens| {
            tokens.revoke_all(&name(), &Scope::User("secret-user".into()), ttl()).await.map(|_| ())
        }),
        made("token.epochs", &tokens, async |tokens| {
            tokens.epochs(&name(), &[Scope::User("secret-user".into())]).await.map(drop)
        }),
        made("token.check", &tokens, async |tokens| {
            tokens.check(&name(), &TokenFacts::new("secret-jti", Vec::new())).await.map(|_| ())
        }),
        made("token.agree", &tokens, async |tokens| {
            let settings = TokenSettings::new().max_life(ttl()).issuer("secret-issuer");
            tokens.agree(&name(), &settings, None).await.map(drop)
        }),
        made("token.floor", &tokens, async |tokens| tokens.floor(&name()).await.map(drop)),
        made("token.claim", &tokens, async |tokens| {
            tokens.first_uses().unwrap().claim(&name(), "secret-name", ttl()).await.map(drop)
        }),
        made("token.open_family", &tokens, async |tokens| {
            let new = NewFamily::new(family(), RefreshHash::new([1; 32]), "secret-data".into(), ttl(), ttl());
            tokens.families().unwrap().open_family(&name(), &new).await.map(drop)
        }),
        made("token.rotate", &tokens, async |tokens| {
            let (now, next) = (RefreshHash::new([1; 32]), RefreshHash::new([2; 32]));
            let attempt = FamilyRotation::new(family(), now, next, Salt::new([3; 32]), Duration::ZERO, ttl());
            tokens.families().unwrap().rotate(&name(), &attempt).await.map(drop)
        }),
        made("token.end_family", &tokens, async |tokens| {
            tokens.families().unwrap().end_family(&name(), &family()).await.map(drop)
        }),
    ]
}
