//! A session that takes another's place.

use stanchion::ErrorKind;
use stanchion::key::bucket_of;
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, Predecessor, RotateOutcome, Rotation, SessionId,
    SessionLimit, SessionRecord, SessionStore,
};

use super::common::{create, id_for, ids, is_gone, new, open, service};
use crate::check::{ensure, fail, refused, same};
use crate::{Context, Outcome};

fn replacing(user: &str, of: &SessionId, version: u64, limit: SessionLimit) -> Outcome<NewSession> {
    let mut session = new(user)?.replacing(Predecessor::new(of.clone(), version));
    session.limit = limit;
    Ok(session)
}

/// Creates it, evicting nobody.
async fn replaced(
    store: &dyn SessionStore,
    session: NewSession,
) -> Outcome<(SessionRecord, Option<SessionId>)> {
    match store.create(&service()?, session).await? {
        CreateOutcome::Created { record, evicted, replaced } => {
            same(evicted, Vec::new(), "nobody evicted")?;
            Ok((record, replaced))
        }
        other => fail("created", other),
    }
}

pub(super) async fn the_session_that_is_replaced_ends_and_does_not_count(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let one = SessionLimit::Reject(1);
    let mut session = new("u1")?;
    session.limit = one;
    let mut last = create(&*here, session).await?.id;
    for _ in 0..2 {
        let (next, gone) = replaced(&*there, replacing("u1", &last, 1, one)?).await?;
        same(gone, Some(last.clone()), "the session whose place was taken")?;
        is_gone(&*here, &last).await?;
        same(ids(&*here, "u1").await?, vec![next.id.clone()], "the user's sessions")?;
        last = next.id;
    }
    // What has ended already is passed over.
    let _ended = here.destroy(&service()?, &last).await?;
    same(replaced(&*there, replacing("u1", &last, 1, one)?).await?.1, None, "in place of what has ended")?;
    let three = SessionLimit::EvictOldest(3);
    let mut devices = Vec::new();
    for _ in 0..3 {
        devices.push(open(&*here, "u2").await?);
    }
    for _ in 0..3 {
        let own = devices.remove(2);
        devices.push(replaced(&*here, replacing("u2", &own, 1, three)?).await?.0.id);
    }
    devices.reverse();
    same(ids(&*there, "u2").await?, devices, "all devices, after one of them has logged in again and again")
}

pub(super) async fn a_session_that_changed_is_not_replaced(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let (service, id) = (service()?, open(&*here, "u1").await?);
    let patch = Patch::new().set("a", "1");
    same(there.patch(&service, &id, &patch).await?, PatchOutcome::Saved { version: 2 }, "a patch")?;
    let stale = replacing("u1", &id, 1, SessionLimit::Reject(1))?;
    let outcome = here.create(&service, stale.clone()).await?;
    same(outcome, CreateOutcome::Conflict { version: 2 }, "in place of what has changed")?;
    same(here.load(&service, &stale.id).await?, None, "the session that was not created")?;
    same(ids(&*here, "u1").await?, vec![id.clone()], "the user's sessions")?;
    let (next, gone) = replaced(&*here, replacing("u1", &id, 2, SessionLimit::Reject(1))?).await?;
    same((gone, ids(&*there, "u1").await?), (Some(id), vec![next.id]), "in place of what it has become")
}

pub(super) async fn a_session_that_was_rotated_is_not_replaced_by_its_old_id(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let (service, old, to, last) = (service()?, open(&*here, "u1").await?, id_for("u1")?, id_for("u1")?);
    let plenty = SessionLimit::Reject(9);
    for (n, (from, to)) in [(&old, &to), (&to, &last)].into_iter().enumerate() {
        let rotation = Rotation::to(to.clone()).grace(Rotation::MAX_GRACE);
        let rotated = there.rotate(&service, "u1", from, &rotation).await?;
        ensure(matches!(rotated, RotateOutcome::Rotated { .. }), "rotated", rotated)?;
        let stale = replacing("u1", &old, 1, plenty)?;
        let version = 2 + n as u64;
        let outcome = here.create(&service, stale.clone()).await?;
        same(outcome, CreateOutcome::Conflict { version }, "in place of what was rotated")?;
        same(here.load(&service, &stale.id).await?, None, "the session that was not created")?;
        same(ids(&*here, "u1").await?, vec![to.clone()], "the user's sessions")?;
    }
    let (next, gone) = replaced(&*here, replacing("u1", &last, 3, plenty)?).await?;
    let found = (gone, ids(&*there, "u1").await?);
    same(found, (Some(last), vec![next.id.clone()]), "in place of what it has become")?;
    // What the old id leads to has ended.
    let (other, gone) = replaced(&*here, replacing("u1", &old, 1, plenty)?).await?;
    let found = (gone, ids(&*there, "u1").await?);
    same(found, (None, vec![other.id, next.id]), "in place of what was rotated and has ended")
}

pub(super) async fn nobody_takes_the_place_of_another_user(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let service = service()?;
    // Of the same bucket, as a session must be to be named.
    let other = (0..10_000_000).map(|n| format!("other{n}")).find(|user| bucket_of(user) == bucket_of("u1"));
    let Some(other) = other else {
        return fail("a user of the same bucket", "none");
    };
    let theirs = open(&*store, &other).await?;
    let (mine, gone) = replaced(&*store, replacing("u1", &theirs, 1, SessionLimit::Reject(1))?).await?;
    same(gone, None, "in place of another user's session")?;
    let live = store.load(&service, &theirs).await?;
    ensure(live.is_some(), "the other user's session", "none")?;
    same(ids(&*store, "u1").await?, vec![mine.id], "the user's sessions")?;
    let elsewhere = replacing("u1", &id_for("somebody else")?, 1, SessionLimit::Reject(9))?;
    refused(
        store.create(&service, elsewhere).await,
        ErrorKind::InvalidInput,
        "a predecessor in another bucket",
    )
}
