//! Doing a task.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use stanchion::cache::{Fetched, Fill, FillOutcome, LeaseRequest, LeaseToken, Want};
use stanchion::key::{Key, Name};
use stanchion::limit::Tier;
use stanchion::lock::{AcquireOutcome, Fence, Lease, LockRequest, LockToken, Locker, ReleaseOutcome};
use stanchion::random::SystemRandom;
use stanchion::session::{CreateOutcome, HashingKey, NewSession, SessionLimit, SessionToken};
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion::token::{FamilyId, RefreshHash, RotateOutcome, Rotation, Salt, Scope, TokenFacts, Verdict};

use super::{Held, Task};
use crate::check::{PATIENCE, fail, name, pause};
use crate::{Failure, Outcome};
use stanchion::cache::AllParts as _;

/// Nothing that a race takes ends by itself meanwhile.
fn long() -> Ttl {
    Ttl::MAX
}

pub(super) async fn play(task: Task, stores: &Stores) -> Outcome<Value> {
    let value = match task {
        Task::Add { key, times } => value(add(stores, &key, times).await?),
        Task::TakeLeases { keys, token } => value(take_leases(stores, &keys, token).await?),
        Task::Fill { keys, token } => value(fill(stores, &keys, token).await?),
        Task::Acquire { name, token, lease } => {
            let lease = acquire(&*stores.locker()?, &name, token, Ttl::new(lease)?).await?;
            value(lease.map(|lease| lease.fence.get()))
        }
        Task::Release { name, token, fence } => {
            let lease = Lease::new(lock(&name)?, LockToken::new([token; 16]), Fence::new(fence), long());
            value(stores.locker()?.release(&lease).await? == ReleaseOutcome::Released)
        }
        Task::TakeTurns { name, token, times } => {
            value(take_turns(&*stores.locker()?, &name, token, times).await?)
        }
        Task::Check { subject, burst, times } => value(check(stores, &subject, burst, times).await?),
        Task::Create { user, limit, evicts, times } => {
            let limit = if evicts { SessionLimit::EvictOldest(limit) } else { SessionLimit::Reject(limit) };
            value(create(stores, &user, limit, times).await?)
        }
        Task::Revoke { jtis } => value(revoke(stores, &jtis).await?),
        Task::AreRevoked { jtis } => value(are_revoked(stores, &jtis).await?),
        Task::RevokeAll { user } => {
            let epoch = stores.token_store()?.revoke_all(&service()?, &Scope::User(user), long()).await?;
            value(epoch.get())
        }
        Task::Epoch { user } => {
            let epochs = stores.token_store()?.epochs(&service()?, &[Scope::User(user)]).await?;
            value(epochs.first().map(|epoch| epoch.get()))
        }
        Task::Claim { names } => value(claim(stores, &names).await?),
        Task::Rotate { families, next } => value(rotate(stores, &families, next).await?),
    };
    value.map_err(|error| Failure::broken("the result of a task", &error))
}

fn value(result: impl serde::Serialize) -> serde_json::Result<Value> {
    serde_json::to_value(result)
}

fn service() -> Outcome<Name> {
    name("auth")
}

fn entry(id: &str) -> Outcome<Key> {
    Ok(Key::new("cache", "case", id)?)
}

fn lock(name: &str) -> Outcome<Key> {
    Ok(Key::new("locks", "lock", name)?)
}

async fn add(stores: &Stores, key: &str, times: u32) -> Outcome<Vec<i64>> {
    let (cache, key, mut sums) = (stores.cache_store()?, entry(key)?, Vec::new());
    for _ in 0..times {
        sums.push(cache.add(&key, 1, long()).await?);
    }
    Ok(sums)
}

async fn take_leases(stores: &Stores, keys: &[String], token: u8) -> Outcome<Vec<bool>> {
    let (cache, mut granted) = (stores.cache_store()?, Vec::new());
    for key in keys {
        let token = LeaseToken::new([token; 16]);
        let request = LeaseRequest::new(entry(key)?, token, long(), Want::IfAbsent);
        let fetched = cache.fetch(&[request]).await?;
        granted.push(matches!(fetched.as_slice(), [Fetched::Leased { .. }]));
    }
    Ok(granted)
}

async fn fill(stores: &Stores, keys: &[String], token: u8) -> Outcome<Vec<bool>> {
    let (cache, mut filled) = (stores.cache_store()?, Vec::new());
    for key in keys {
        let (lease, value) = (LeaseToken::new([token; 16]), Bytes::from(token.to_string()));
        let outcomes = cache.fill(&[Fill::new(entry(key)?, lease, value, long())]).await?;
        filled.push(outcomes == [FillOutcome::Filled]);
    }
    Ok(filled)
}

async fn acquire(locker: &dyn Locker, name: &str, token: u8, lease: Ttl) -> Outcome<Option<Lease>> {
    let request = LockRequest::new(lock(name)?, LockToken::new([token; 16]), lease);
    Ok(match locker.acquire(&request).await? {
        AcquireOutcome::Acquired(lease) => Some(lease),
        _ => None,
    })
}

async fn take_turns(locker: &dyn Locker, name: &str, token: u8, times: u32) -> Outcome<Held> {
    let mut held = Held { fences: Vec::new(), overlaps: 0 };
    let turns = async {
        for _ in 0..times {
            let lease = loop {
                match acquire(locker, name, token, long()).await? {
                    Some(lease) => break lease,
                    None => pause(Duration::from_millis(1)).await,
                }
            };
            let seen = locker.inspect(&lease.key).await?.map(|(fence, _)| fence);
            let released = locker.release(&lease).await?;
            let alone = seen == Some(lease.fence) && released == ReleaseOutcome::Released;
            held.overlaps += u32::from(!alone);
            held.fences.push(lease.fence.get());
        }
        Ok::<_, Failure>(())
    };
    match tokio::time::timeout(PATIENCE, turns).await {
        Ok(done) => done.map(|()| held),
        Err(_) => fail(format!("{times} turns at a lock that nobody keeps, within {PATIENCE:?}"), "fewer"),
    }
}

async fn check(stores: &Stores, subject: &str, burst: u32, times: u32) -> Outcome<u32> {
    let (limiter, key) = (stores.rate_limiter()?, Key::new("rate_limit", "case", subject)?);
    let (tier, mut allowed) = (Tier::new(burst, Duration::from_hours(24))?, 0);
    for _ in 0..times {
        allowed += u32::from(limiter.check(&key, &[tier], 1).await?.is_allowed());
    }
    Ok(allowed)
}

async fn create(stores: &Stores, user: &str, limit: SessionLimit, times: u32) -> Outcome<u32> {
    let (sessions, mut created) = (stores.session_store()?, 0);
    for _ in 0..times {
        let id = HashingKey::unkeyed().session_id(&SessionToken::generate(user, &SystemRandom)?);
        let new = NewSession::new(id, user, long(), long(), limit);
        let outcome = sessions.create(&service()?, new).await?;
        created += u32::from(matches!(outcome, CreateOutcome::Created { .. }));
    }
    Ok(created)
}

async fn revoke(stores: &Stores, jtis: &[String]) -> Outcome {
    let tokens = stores.token_store()?;
    for jti in jtis {
        tokens.revoke(&service()?, jti, long()).await?;
    }
    Ok(())
}

async fn are_revoked(stores: &Stores, jtis: &[String]) -> Outcome<Vec<bool>> {
    let (tokens, mut revoked) = (stores.token_store()?, Vec::new());
    for jti in jtis {
        let verdict = tokens.check(&service()?, &TokenFacts::new(jti, Vec::new())).await?;
        revoked.push(matches!(verdict, Verdict::Revoked(_)));
    }
    Ok(revoked)
}

async fn claim(stores: &Stores, names: &[String]) -> Outcome<Vec<bool>> {
    let (tokens, mut first) = (stores.token_store()?, Vec::new());
    let Some(uses) = tokens.first_uses() else { return fail("first uses, for every process", "none") };
    for name in names {
        first.push(uses.claim(&service()?, name, long()).await?);
    }
    Ok(first)
}

async fn rotate(stores: &Stores, families: &[u8], next: u8) -> Outcome<Vec<bool>> {
    let (tokens, mut rotated) = (stores.token_store()?, Vec::new());
    let Some(store) = tokens.families() else { return fail("families, for every process", "none") };
    for family in families {
        let (id, first) = (FamilyId::new([*family; 32]), RefreshHash::new([1; 32]));
        let (successor, salt) = (RefreshHash::new([next; 32]), Salt::new([next; 32]));
        let attempt = Rotation::new(id, first, successor, salt, Duration::from_hours(1), long());
        let outcome = store.rotate(&service()?, &attempt).await?;
        rotated.push(matches!(outcome, RotateOutcome::Rotated { .. }));
    }
    Ok(rotated)
}
