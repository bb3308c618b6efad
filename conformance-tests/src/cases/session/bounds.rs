//! Settings that are stricter than what is stored.

use stanchion::session::{NewSession, SessionBounds, SessionLimit, Timeouts};
use stanchion::time::Ttl;

use super::common::{create, ids, is_gone, new, service};
use crate::check::{ensure, same};
use crate::{Context, Outcome};

/// Ends a session of this kind by these bounds, which it outlives by what is stored.
async fn ends(cx: &Context, session: NewSession, bounds: SessionBounds) -> Outcome {
    let plain = cx.open().await?.session_store()?;
    let bounded = cx.open().await?.session_store()?.bounded(bounds);
    let created = create(&*plain, session).await?;
    let spare = create(&*plain, new("u1")?).await?;
    let left = bounded.load(&service()?, &created.id).await?.map(|record| record.expires_in);
    ensure(left <= Some(cx.short().as_duration()), "what is left of it, by the bounds", left)?;
    cx.pass(cx.short()).await;
    let mut again = new("u1")?;
    again.limit = SessionLimit::Reject(1);
    // It neither counts nor is it listed.
    let _ended = plain.destroy(&service()?, &spare.id).await?;
    same(ids(&*bounded, "u1").await?, Vec::new(), "the sessions within the bounds")?;
    let again = create(&*bounded, again).await?.id;
    is_gone(&*bounded, &created.id).await?;
    same(ids(&*bounded, "u1").await?, vec![again], "the sessions within the bounds, with a new one")
}

fn short(cx: &Context) -> [Timeouts; 2] {
    [Timeouts::new(cx.short(), Ttl::MAX), Timeouts::new(Ttl::MAX, cx.short())]
}

pub(super) async fn a_stricter_idle_timeout_ends_sessions_that_live(cx: &Context) -> Outcome {
    let [idle, _] = short(cx);
    ends(cx, new("u1")?, SessionBounds::new(idle, Timeouts::MAX)).await
}

pub(super) async fn a_stricter_absolute_timeout_ends_sessions_that_live(cx: &Context) -> Outcome {
    let [_, absolute] = short(cx);
    ends(cx, new("u1")?, SessionBounds::new(absolute, Timeouts::MAX)).await
}

pub(super) async fn timeouts_of_its_own_have_bounds_of_their_own(cx: &Context) -> Outcome {
    let [idle, absolute] = short(cx);
    let plain = cx.open().await?.session_store()?;
    let usual = cx.open().await?.session_store()?.bounded(SessionBounds::new(idle, Timeouts::MAX));
    let remembered = create(&*plain, new("u1")?.own_timeouts()).await?;
    cx.pass(cx.short()).await;
    let live = usual.load(&service()?, &remembered.id).await?;
    ensure(live.is_some(), "a session with its own timeouts, beyond the bound of others", "none")?;
    for bound in [idle, absolute] {
        let session = new("u1")?.own_timeouts();
        ends(cx, session, SessionBounds::new(Timeouts::MAX, bound)).await?;
        let _ended = plain.destroy_all(&service()?, "u1", None).await?;
    }
    Ok(())
}
