//! How long sessions live.

use stanchion::session::{Patch, PatchOutcome, TouchOutcome};

use super::common::{create, ids, is_gone, new, service};
use crate::check::{ensure, fail, same};
use crate::{Context, Outcome};

pub(super) async fn a_session_ends_when_it_is_idle(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let mut session = new("u1")?;
    session.idle = cx.short();
    let id = create(&*here, session).await?.id;
    cx.pass(cx.short()).await;
    is_gone(&*there, &id).await?;
    same(ids(&*here, "u1").await?, Vec::new(), "the user's sessions")
}

pub(super) async fn use_keeps_a_session_alive(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    cx.while_it_lasts(|life, _| {
        let store = &store;
        async move {
            let mut session = new("u1")?;
            // At half of this the session is used, and at three quarters of twice it must still be there.
            session.idle = life;
            let (service, id) = (service()?, create(&**store, session).await?.id);
            cx.advance(life.as_duration() / 2).await;
            match store.touch(&service, &id).await? {
                TouchOutcome::Touched { expires_in } => {
                    ensure(
                        expires_in > life.as_duration() * 3 / 4,
                        "a whole idle timeout from now",
                        expires_in,
                    )?;
                }
                other => return fail("touched", other),
            }
            let used = store.load(&service, &id).await?.map(|r| (r.version, r.last_used_at > r.created_at));
            same(used, Some((1, true)), "a touch counts as a use, and is no change")?;
            cx.advance(life.as_duration() / 4).await;
            let patched = store.patch(&service, &id, &Patch::new()).await?;
            same(patched, PatchOutcome::Saved { version: 2 }, "an empty patch")?;
            let left = store.load(&service, &id).await?.map(|record| record.expires_in).unwrap_or_default();
            ensure(left > life.as_duration() * 3 / 4, "a patch counts as a use", left)
        }
    })
    .await?;
    let created = create(&*store, new("u2")?).await?;
    cx.advance(cx.short().as_duration() / 4).await;
    for _ in 0..2 {
        let loaded = store.load(&service()?, &created.id).await?;
        same(loaded.map(|record| record.last_used_at), Some(created.last_used_at), "loading is no use")?;
    }
    Ok(())
}

pub(super) async fn no_use_moves_the_absolute_deadline(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let mut session = new("u1")?;
    session.absolute = cx.short();
    let record = create(&*store, session).await?;
    ensure(
        record.expires_in <= cx.short().as_duration(),
        "the absolute timeout is the nearer",
        record.expires_in,
    )?;
    cx.advance(cx.short().as_duration() / 4).await;
    // On a slow machine it may be over already; then these say so, and the end is the same.
    let _touched = store.touch(&service()?, &record.id).await?;
    let _patched = store.patch(&service()?, &record.id, &Patch::new().set("a", "b")).await?;
    if let Some(used) = store.load(&service()?, &record.id).await? {
        same(used.absolute_deadline, record.absolute_deadline, "the absolute deadline after use")?;
    }
    cx.pass(cx.short()).await;
    is_gone(&*store, &record.id).await
}
