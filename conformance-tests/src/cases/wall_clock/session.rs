//! The order and the lives of sessions.

use stanchion::random::SystemRandom;
use stanchion::session::{
    CreateOutcome, HashingKey, NewSession, SessionId, SessionLimit, SessionStore, SessionToken,
};
use stanchion::time::Ttl;

use super::{HOUR, ROUND};
use crate::check::{fail, name, same};
use crate::{Context, Outcome, WallStep};

const USER: &str = "u1";

async fn create(
    store: &dyn SessionStore,
    idle: Ttl,
    limit: SessionLimit,
) -> Outcome<(SessionId, Vec<SessionId>)> {
    let id = HashingKey::unkeyed().session_id(&SessionToken::generate(USER, &SystemRandom)?);
    match store.create(&name("auth")?, NewSession::new(id, USER, idle, Ttl::MAX, limit)).await? {
        CreateOutcome::Created { record, evicted, .. } => Ok((record.id, evicted)),
        other => fail("created", other),
    }
}

pub(in crate::cases) async fn order_is_by_creation(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let mut opened = Vec::new();
    for step in [None].into_iter().chain(ROUND.map(Some)) {
        if let Some(step) = step {
            let _frame = cx.step(step).await?;
        }
        opened.push(create(&*store, Ttl::MAX, SessionLimit::Reject(100)).await?.0);
        let listed = store.list(&name("auth")?, USER).await?.into_iter().map(|session| session.id);
        let newest_first: Vec<_> = opened.iter().rev().cloned().collect();
        same(listed.collect(), newest_first, &format!("by creation, the newest first, {step:?}"))?;
    }
    let (_, evicted) = create(&*store, Ttl::MAX, SessionLimit::EvictOldest(3)).await?;
    same(evicted, opened[..2].to_vec(), "those that were created first make room")
}

async fn is_over(cx: &Context, step: WallStep, life: Ttl, longer: Ttl) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let (id, _) = create(&*store, life, SessionLimit::Reject(100)).await?;
    let _frame = cx.step(step).await?;
    cx.pass(longer).await;
    let loaded = store.load(&name("auth")?, &id).await?;
    same(loaded, None, &format!("a session that was idle for long enough, {step:?}"))
}

pub(in crate::cases) async fn lives_after_a_step_back(cx: &Context) -> Outcome {
    let life = cx.short();
    is_over(cx, WallStep::Back(life.as_duration()), life, Ttl::new(2 * life.as_duration())?).await
}

pub(in crate::cases) async fn lives_after_a_step_forth(cx: &Context) -> Outcome {
    is_over(cx, WallStep::Forth(HOUR), cx.short(), cx.short()).await
}
