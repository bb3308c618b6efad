//! The life of a whole bundle.

use std::sync::Arc;
use std::time::Duration;

use stanchion::cache::CacheStore;
use stanchion::environment::Health;
use stanchion::event::{EventBus, SubscribeOptions};
use stanchion::key::Key;
use stanchion::limit::{RateLimiter, Tier};
use stanchion::lock::{LockRequest, LockToken, Locker};
use stanchion::session::SessionStore;
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion::token::{TokenFacts, TokenStore};
use stanchion::{ErrorKind, Result};

use super::{ends, rules};
use crate::check::{ensure, name, refused, same};
use crate::{Context, Outcome};

const DEADLINE: Duration = Duration::from_secs(10);

async fn an_open_bundle_is_up(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let mut health = stores.health();
    same(health.current(), Health::Up, "the health of an open bundle")?;
    stores.close(DEADLINE).await?;
    let down = tokio::time::timeout(DEADLINE, health.wait_for(|health| *health == Health::Down)).await;
    ensure(down.is_ok(), "down after close, and notified of it", "no such change")?;
    let later = stores.health().current();
    same(later, Health::Down, "the health that is told to who asks after close")
}

/// One of each area's stores that the bundle has.
struct Parts {
    cache: Option<Arc<dyn CacheStore>>,
    sessions: Option<Arc<dyn SessionStore>>,
    events: Option<Arc<dyn EventBus>>,
    locks: Option<Arc<dyn Locker>>,
    limits: Option<Arc<dyn RateLimiter>>,
    tokens: Option<Arc<dyn TokenStore>>,
}

impl Parts {
    fn of(stores: &Stores) -> Self {
        Self {
            cache: stores.cache_store().ok(),
            sessions: stores.session_store().ok(),
            events: stores.event_bus().ok(),
            locks: stores.locker().ok(),
            limits: stores.rate_limiter().ok(),
            tokens: stores.token_store().ok(),
        }
    }

    /// What one call of each answers.
    async fn ask(&self) -> Outcome<Vec<(&'static str, Result<()>)>> {
        let (service, mut answers) = (name("auth")?, Vec::new());
        if let Some(cache) = &self.cache {
            answers.push(("the cache", cache.get(&Key::new("cache", "case", "a")?).await.map(drop)));
        }
        if let Some(sessions) = &self.sessions {
            answers.push(("sessions", sessions.list(&service, "u1").await.map(drop)));
        }
        if let Some(events) = &self.events {
            let options = SubscribeOptions::new(name("user")?);
            answers.push(("events", events.subscribe(options).await.map(drop)));
        }
        if let Some(locks) = &self.locks {
            let key = Key::new("locks", "lock", "a")?;
            let request = LockRequest::new(key, LockToken::new([1; 16]), Ttl::MAX);
            answers.push(("locks", locks.acquire(&request).await.map(drop)));
        }
        if let Some(limits) = &self.limits {
            let (key, tier) = (Key::new("rate_limit", "case", "a")?, Tier::new(1, Duration::from_secs(1))?);
            answers.push(("limits", limits.check(&key, &[tier], 1).await.map(drop)));
        }
        if let Some(tokens) = &self.tokens {
            let token = TokenFacts::new("j", vec![]);
            answers.push(("tokens", tokens.check(&service, &token).await.map(drop)));
        }
        Ok(answers)
    }
}

async fn a_closed_bundle_answers_closed(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let parts = Parts::of(&stores);
    stores.close(DEADLINE).await?;
    stores.close(DEADLINE).await?;
    for (what, answer) in parts.ask().await? {
        refused(answer, ErrorKind::Closed, &format!("{what} after close"))?;
    }
    Ok(())
}

async fn closing_one_handle_leaves_the_others(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    let parts = Parts::of(&there);
    here.close(DEADLINE).await?;
    let health = there.health().current();
    same(health, Health::Up, "the other handle's health")?;
    for (what, answer) in parts.ask().await? {
        ensure(answer.is_ok(), &format!("an answer of {what} of the other handle"), answer)?;
    }
    Ok(())
}

rules! {
    "STORES-01" Must "An open bundle is up, a closed one down, and the change is notified." => ["health::up_and_down": an_open_bundle_is_up];
    "STORES-02" Must "After close every store answers Closed; closing twice is no error." => ["close::answers_closed": a_closed_bundle_answers_closed];
    "STORES-03" Must "Closing one handle leaves the others." => ["close::leaves_other_handles": closing_one_handle_leaves_the_others];
    "STORES-04" Must "Nothing that was issued within a session is accepted once the session was ended, whatever runs beside that." => [
        "ends::nothing_outlives_its_session": ends::nothing_issued_outlives_its_session,
    ];
    "STORES-05" Must "Ending a session that is another user's, or is not there, changes nothing." => [
        "ends::strangers_end_nothing": ends::strangers_end_nothing,
    ];
    "STORES-06" Must "A log-in that began before all sessions of its user were ended has none after." => [
        "ends::begun_log_in_is_stale": ends::a_log_in_that_had_begun_is_stale,
    ];
}
