//! Every operation of every store.

use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use stanchion::Result;
use stanchion::cache::AllParts as _;
use stanchion::cache::{Fill, LeaseRequest, LeaseToken, Release, SetOptions, Tag, Want, When};
use stanchion::event::{Envelope, EventId, EventType, SubscribeOptions};
use stanchion::key::{Key, Name};
use stanchion::limit::Tier;
use stanchion::lock::{Fence, Lease, LockRequest, LockToken};
use stanchion::random::SystemRandom;
use stanchion::session::{HashingKey, NewSession, Patch, Rotation, SessionId, SessionLimit, SessionToken};
use stanchion::stores::Stores;
use stanchion::time::Timestamp;
use stanchion::token::{
    FamilyId, FirstUses, Mark, NewFamily, RefreshFamilies, RefreshHash, Rotation as FamilyRotation, Salt,
    Scope, TokenFacts, TokenSettings, TokenStore,
};

use crate::support::{entry, hour, key};

/// One operation.
pub(crate) struct Operation {
    /// As errors name it.
    pub(crate) name: &'static str,
    /// Whether it may change something.
    pub(crate) writes: bool,
    pub(crate) run: for<'a> fn(&'a Stores) -> BoxFuture<'a, Result<()>>,
}

const READ: bool = false;
const WRITE: bool = true;

macro_rules! operations {
    ($($access:ident $name:literal: |$stores:ident| $call:expr;)*) => {
        &[$(Operation {
            name: $name,
            writes: $access,
            run: |$stores| async move {
                let _ = $call;
                Ok(())
            }
            .boxed(),
        }),*]
    };
}

pub(crate) const ALL: &[Operation] = operations! {
    READ "cache.get": |stores| stores.cache_store()?.get(&key("a")).await?;
    READ "cache.get_many": |stores| stores.cache_store()?.get_many(&[key("a"), key("b")]).await?;
    READ "cache.get_many_with_ttl": |stores| stores.cache_store()?.get_many_with_ttl(&[key("a"), key("b")]).await?;
    READ "cache.ttl": |stores| stores.cache_store()?.ttl(&key("a")).await?;
    WRITE "cache.set": |stores| stores.cache_store()?.set(&key("a"), value(), &SetOptions::new(hour())).await?;
    WRITE "cache.set": |stores| stores.cache_store()?.set(&key("a"), value(), &SetOptions::new(hour()).when(When::Absent)).await?;
    WRITE "cache.set_many": |stores| stores.cache_store()?.set_many(&[entry(&key("a"), value()), entry(&key("b"), value())]).await?;
    WRITE "cache.remove_many": |stores| stores.cache_store()?.remove_many(&[key("a"), key("b")]).await?;
    WRITE "cache.add": |stores| stores.cache_store()?.add(&key("n"), 1, hour()).await?;
    WRITE "cache.touch": |stores| stores.cache_store()?.touch(&key("a"), hour()).await?;
    WRITE "cache.fetch": |stores| stores.cache_store()?.fetch(&[fill_request()]).await?;
    WRITE "cache.fill": |stores| stores.cache_store()?.fill(&[Fill::new(key("a"), fill_token(), value(), hour())]).await?;
    WRITE "cache.release": |stores| stores.cache_store()?.release(&[Release::new(key("a"), fill_token())]).await?;
    WRITE "cache.generations": |stores| stores.cache_store()?.generations(&[tag()]).await?;
    WRITE "cache.bump": |stores| stores.cache_store()?.bump(&[tag()]).await?;
    WRITE "session.create": |stores| stores.session_store()?.create(&service(), new_session()).await?;
    READ "session.load": |stores| stores.session_store()?.load(&service(), &session_id()).await?;
    WRITE "session.use": |stores| stores.session_store()?.use_session(&service(), &session_id()).await?;
    WRITE "session.patch": |stores| stores.session_store()?.patch(&service(), &session_id(), &Patch::new().set("a", "1")).await?;
    WRITE "session.touch": |stores| stores.session_store()?.touch(&service(), &session_id()).await?;
    WRITE "session.rotate": |stores| stores.session_store()?.rotate(&service(), "u1", &session_id(), &rotation()).await?;
    WRITE "session.destroy": |stores| stores.session_store()?.destroy(&service(), &session_id()).await?;
    READ "session.list": |stores| stores.session_store()?.list(&service(), "u1").await?;
    WRITE "session.destroy_all": |stores| stores.session_store()?.destroy_all(&service(), "u1", None).await?;
    WRITE "token.revoke": |stores| stores.token_store()?.revoke(&service(), "j1", hour()).await?;
    WRITE "token.revoke_all": |stores| stores.token_store()?.revoke_all(&service(), &Scope::Service, hour()).await?;
    READ "token.epochs": |stores| stores.token_store()?.epochs(&service(), &[Scope::Service, Scope::User("u1".into())]).await?;
    WRITE "token.agree": |stores| stores.token_store()?.agree(&service(), &TokenSettings::new().issuer("me"), None).await?;
    WRITE "token.floor": |stores| stores.token_store()?.floor(&service()).await?;
    READ "token.check": |stores| stores.token_store()?.check(&service(), &token()).await?;
    WRITE "token.claim": |stores| first_uses(&*stores.token_store()?).claim(&service(), "j1", hour()).await?;
    WRITE "token.open_family": |stores| families(&*stores.token_store()?).open_family(&service(), &new_family()).await?;
    WRITE "token.rotate": |stores| families(&*stores.token_store()?).rotate(&service(), &family_rotation()).await?;
    WRITE "token.end_family": |stores| families(&*stores.token_store()?).end_family(&service(), &new_family().id).await?;
    WRITE "limit.check": |stores| stores.rate_limiter()?.check(&limit_key(), &tiers(), 1).await?;
    READ "limit.peek": |stores| stores.rate_limiter()?.peek(&limit_key(), &tiers()).await?;
    WRITE "limit.refund": |stores| stores.rate_limiter()?.refund(&limit_key(), &tiers(), 1).await?;
    WRITE "lock.acquire": |stores| stores.locker()?.acquire(&lock_request()).await?;
    WRITE "lock.renew": |stores| stores.locker()?.renew(&[lease()]).await?;
    WRITE "lock.release": |stores| stores.locker()?.release(&lease()).await?;
    READ "lock.inspect": |stores| stores.locker()?.inspect(&lock_key()).await?;
    WRITE "event.publish": |stores| stores.event_bus()?.publish(&event()).await?;
    READ "event.subscribe": |stores| stores.event_bus()?.subscribe(SubscribeOptions::new(Name::new("user")?)).await?;
};

pub(crate) fn value() -> Bytes {
    Bytes::from_static(b"v")
}

fn fill_token() -> LeaseToken {
    LeaseToken::new([5; 16])
}

fn fill_request() -> LeaseRequest {
    LeaseRequest::new(key("f"), fill_token(), hour(), Want::Anyway)
}

fn tag() -> Tag {
    Tag::new("t").unwrap()
}

pub(crate) fn service() -> Name {
    Name::new("auth").unwrap()
}

/// Another one at each call.
pub(crate) fn session_id() -> SessionId {
    HashingKey::unkeyed().session_id(&SessionToken::generate("u1", &SystemRandom).unwrap())
}

fn rotation() -> Rotation {
    let token = SessionToken::beside(&session_id(), &SystemRandom).unwrap();
    Rotation::to(HashingKey::unkeyed().session_id(&token))
}

pub(crate) fn new_session() -> NewSession {
    NewSession::new(session_id(), "u1", hour(), hour(), SessionLimit::Reject(9))
}

pub(crate) fn token() -> TokenFacts {
    let issued = Mark::IssuedAt(Timestamp::from_secs(1));
    TokenFacts::new("j1", vec![(Scope::Service, issued), (Scope::User("u1".into()), issued)])
}

pub(crate) fn first_uses(tokens: &dyn TokenStore) -> &dyn FirstUses {
    tokens.first_uses().expect("Redis has this part")
}

pub(crate) fn families(tokens: &dyn TokenStore) -> &dyn RefreshFamilies {
    tokens.families().expect("Redis has this part")
}

pub(crate) fn new_family() -> NewFamily {
    NewFamily::new(FamilyId::new([1; 32]), RefreshHash::new([1; 32]), value(), hour(), hour())
}

pub(crate) fn family_rotation() -> FamilyRotation {
    let (id, now, next) = (FamilyId::new([1; 32]), RefreshHash::new([1; 32]), RefreshHash::new([2; 32]));
    FamilyRotation::new(id, now, next, Salt::new([3; 32]), Duration::from_secs(10), hour())
}

pub(crate) fn limit_key() -> Key {
    Key::new("rate_limit", "login", "u1").unwrap()
}

pub(crate) fn tiers() -> [Tier; 1] {
    [Tier::new(5, Duration::from_hours(1)).unwrap()]
}

pub(crate) fn lock_key() -> Key {
    Key::new("locks", "lock", "job").unwrap()
}

pub(crate) fn lock_request() -> LockRequest {
    LockRequest::new(lock_key(), LockToken::new([1; 16]), hour())
}

/// The lease of [`lock_request`], but for the fence, which the locker has no use for.
pub(crate) fn lease() -> Lease {
    Lease::new(lock_key(), LockToken::new([1; 16]), Fence::new(1), hour())
}

pub(crate) fn event() -> Envelope {
    static NUMBERS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);
    let number = NUMBERS.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let id = EventId::generate(&stanchion::clock::SystemClock, &SystemRandom).unwrap();
    Envelope::new(
        id,
        "faults",
        EventType::new("user.updated").unwrap(),
        Timestamp::from_secs(1),
        number.into(),
    )
}
