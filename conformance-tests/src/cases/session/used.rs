//! What a request does: one step that reads the session and records its use where that is due.

use std::time::Duration;

use super::common::{create, ids, is_gone, new, service};
use crate::check::{ensure, same};
use crate::{Context, Outcome};

pub(super) async fn a_use_is_recorded_when_it_is_due(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let (created, interval) = cx
        .while_it_lasts(|life, _| {
            let (here, there) = (&here, &there);
            async move {
                let created = create(&**here, new("u1")?.touch_every(life.as_duration())).await?;
                for _ in 0..3 {
                    cx.advance(Duration::from_millis(1)).await;
                    let Some(mut used) = there.use_session(&service()?, &created.id).await? else {
                        return crate::check::fail("the session that is used", "none");
                    };
                    ensure(used.expires_in <= created.expires_in, "time does not go back", used.expires_in)?;
                    used.expires_in = created.expires_in;
                    used.use_due_in = created.use_due_in;
                    same(used, created.clone(), "a use that is not due is not recorded")?;
                }
                Ok((created, life))
            }
        })
        .await?;
    cx.pass(interval).await;
    let used = there.use_session(&service()?, &created.id).await?.map(|record| record.last_used_at);
    ensure(used > Some(created.last_used_at), "a use that is due is recorded, and answered", used)?;
    let loaded = here.load(&service()?, &created.id).await?.map(|r| (r.version, r.last_used_at));
    same(loaded, used.map(|used| (1, used)), "the recorded use, which is no change")?;
    // Each use of a session without an interval is due.
    let eager = create(&*here, new("u1")?).await?;
    cx.advance(Duration::from_millis(1)).await;
    let used = there.use_session(&service()?, &eager.id).await?.map(|record| record.last_used_at);
    ensure(used > Some(eager.last_used_at), "every use is recorded without an interval", used)
}

pub(super) async fn unrecorded_use_shortens_no_idle_time(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    cx.while_it_lasts(|life, _| {
        let store = &store;
        async move {
            let half = life.as_duration() / 2;
            let mut session = new("u1")?.touch_every(half);
            session.idle = stanchion::time::Ttl::new(half)?;
            let id = create(&**store, session).await?.id;
            cx.advance(life.as_duration() / 4).await;
            let used = store.use_session(&service()?, &id).await?;
            ensure(used.is_some(), "a session that was used in time", "none")?;
            // Longer than the idle timeout since the recorded use, and less since the last one.
            cx.advance(life.as_duration() * 3 / 8).await;
            let live = store.load(&service()?, &id).await?;
            ensure(
                live.is_some(),
                "a session lives for its idle timeout after each use, recorded or not",
                "none",
            )
        }
    })
    .await?;
    let mut session = new("u2")?;
    session.idle = stanchion::time::Ttl::new(cx.short().as_duration() / 2)?;
    session.touch_every = cx.short().as_duration() / 2;
    let id = create(&*store, session).await?.id;
    cx.pass(cx.short()).await;
    is_gone(&*store, &id).await?;
    same(ids(&*store, "u2").await?, Vec::new(), "the sessions of a user who was away")
}
