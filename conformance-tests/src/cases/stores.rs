//! The life of a whole bundle.

use std::time::Duration;

use stanchion::ErrorKind;
use stanchion::key::Key;
use stanchion::limit::Tier;
use stanchion::lock::{LockRequest, LockToken};
use stanchion::stores::Health;
use stanchion::time::Ttl;
use stanchion::token::TokenFacts;

use super::rules;
use crate::check::{ensure, name, refused, same};
use crate::{Context, Outcome};

const DEADLINE: Duration = Duration::from_secs(10);

async fn an_open_bundle_is_up(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let mut health = stores.health();
    same(*health.borrow_and_update(), Health::Up, "the health of an open bundle")?;
    stores.close(DEADLINE).await?;
    let down = tokio::time::timeout(DEADLINE, health.wait_for(|health| *health == Health::Down)).await;
    ensure(matches!(down, Ok(Ok(_))), "down after close, and told so", "no such change")
}

async fn a_closed_bundle_answers_closed(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let service = name("auth")?;
    // What the bundle does not have can't be closed.
    let (cache, sessions, events) = (stores.cache_store(), stores.session_store(), stores.event_bus());
    let (locks, limits, tokens) = (stores.locker(), stores.rate_limiter(), stores.token_store());
    stores.close(DEADLINE).await?;
    stores.close(DEADLINE).await?;
    if let Ok(cache) = cache {
        refused(cache.get(&Key::new("cache", "case", "a")?).await, ErrorKind::Closed, "a cache after close")?;
    }
    if let Ok(sessions) = sessions {
        refused(sessions.list(&service, "u1").await, ErrorKind::Closed, "sessions after close")?;
    }
    if let Ok(events) = events {
        let options = stanchion::event::SubscribeOptions::new(name("user")?);
        refused(events.subscribe(options).await, ErrorKind::Closed, "events after close")?;
    }
    if let Ok(locks) = locks {
        let request = LockRequest::new(Key::new("locks", "lock", "a")?, LockToken::new([1; 16]), Ttl::MAX);
        refused(locks.acquire(&request).await, ErrorKind::Closed, "locks after close")?;
    }
    if let Ok(limits) = limits {
        let tier = Tier::new(1, Duration::from_secs(1))?;
        refused(
            limits.check(&Key::new("rate_limit", "case", "a")?, &[tier], 1).await,
            ErrorKind::Closed,
            "limits after close",
        )?;
    }
    if let Ok(tokens) = tokens {
        refused(
            tokens.check(&service, &TokenFacts::new("j", vec![])).await,
            ErrorKind::Closed,
            "tokens after close",
        )?;
    }
    Ok(())
}

async fn closing_one_handle_leaves_the_others(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    here.close(DEADLINE).await?;
    let health = *there.health().borrow();
    same(health, Health::Up, "the other handle's health")?;
    if let Ok(cache) = there.cache_store() {
        same(cache.add(&Key::new("cache", "case", "a")?, 1, Ttl::MAX).await?, 1, "the other handle's cache")?;
    }
    Ok(())
}

rules! {
    "STORES-01" Must "An open bundle is up, a closed one down, and the change is told." => ["health::up_and_down": an_open_bundle_is_up];
    "STORES-02" Must "After close every store answers Closed; closing twice is no error." => ["close::answers_closed": a_closed_bundle_answers_closed];
    "STORES-03" Must "Closing one handle leaves the others." => ["close::leaves_other_handles": closing_one_handle_leaves_the_others];
}
