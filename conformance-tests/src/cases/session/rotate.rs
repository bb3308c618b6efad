//! Another id for a session that goes on.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use stanchion::ErrorKind;
use stanchion::random::SystemRandom;
use stanchion::session::{
    CreateOutcome, Device, HashingKey, Patch, PatchOutcome, RotateOutcome, Rotation, SessionId, SessionLimit,
    SessionRecord, SessionStore, SessionToken, TouchOutcome,
};

use super::anonymous::anonymous;
use super::common::{create, id_for, ids, is_gone, new, open, service};
use crate::check::{ensure, fail, refused, same};
use crate::{Context, Outcome};

fn beside(id: &SessionId) -> Outcome<SessionId> {
    Ok(HashingKey::unkeyed().session_id(&SessionToken::beside(id, &SystemRandom)?))
}

async fn rotated(
    store: &dyn SessionStore,
    user: &str,
    id: &SessionId,
    rotation: &Rotation,
) -> Outcome<SessionRecord> {
    match store.rotate(&service()?, user, id, rotation).await? {
        RotateOutcome::Rotated { record } => Ok(record),
        other => fail("rotated", other),
    }
}

pub(super) async fn a_session_goes_on_under_another_id(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let service = service()?;
    let data = ["keep", "remove"].map(|name| (name.to_owned(), Bytes::from_static(b"1")));
    let phone = Device::new().label("Phone");
    let session = new("u1")?.data(BTreeMap::from(data)).device(phone.clone());
    let old = create(&*here, session).await?;
    let newer = open(&*here, "u1").await?;
    cx.advance(Duration::from_millis(2)).await;
    let to = beside(&old.id)?;
    let rotation = Rotation::to(to.clone()).patch(Patch::new().set("level", "2").remove("remove"));
    let record = rotated(&*there, "u1", &old.id, &rotation).await?;
    let expected = [("keep", "1"), ("level", "2")];
    let expected = expected.map(|(name, value)| (name.to_owned(), Bytes::from_static(value.as_bytes())));
    same((&record.id, record.user.as_str(), record.version), (&to, "u1", 2), "id, user and version")?;
    same(record.data.clone(), BTreeMap::from(expected), "the fields")?;
    same(&record.device, &phone, "the device")?;
    let times = |record: &SessionRecord| (record.created_at, record.absolute_deadline);
    same(times(&record), times(&old), "creation and absolute deadline")?;
    ensure(record.last_used_at > old.last_used_at, "a rotation is a use", record.last_used_at)?;
    let Some(mut loaded) = here.load(&service, &to).await? else {
        return fail("the session under its new id", "none");
    };
    loaded.expires_in = record.expires_in;
    same(loaded, record, "the session as another handle loads it")?;
    is_gone(&*here, &old.id).await?;
    same(ids(&*here, "u1").await?, vec![newer.clone(), to.clone()], "it stays in its place in the list")?;
    // It is counted once.
    let limited = |limit| -> Outcome<_> {
        let mut session = new("u1")?;
        session.limit = limit;
        Ok(session)
    };
    let full = here.create(&service, limited(SessionLimit::Reject(2))?).await?;
    same(full, CreateOutcome::LimitReached, "a third one, of two")?;
    match here.create(&service, limited(SessionLimit::EvictOldest(2))?).await? {
        CreateOutcome::Created { evicted, .. } => same(evicted, vec![to], "the oldest, by creation")?,
        other => return fail("created", other),
    }
    let nobodys = create(&*here, anonymous()?).await?.id;
    let to = beside(&nobodys)?;
    let record = rotated(&*there, "", &nobodys, &Rotation::to(to.clone())).await?;
    same((record.id, record.user.as_str()), (to, ""), "a session of nobody under its new id")?;
    is_gone(&*here, &nobodys).await
}

pub(super) async fn of_a_race_to_rotate_one_wins(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let (service, id) = (service()?, open(&*here, "u1").await?);
    let mut rotations = Vec::new();
    for _ in 0..20 {
        rotations.push(Rotation::to(beside(&id)?).grace(Rotation::MAX_GRACE));
    }
    let racing = rotations
        .iter()
        .enumerate()
        .map(|(n, rotation)| if n % 2 == 0 { &here } else { &there }.rotate(&service, "u1", &id, rotation));
    let outcomes = try_join_all(racing).await?;
    let won: Vec<_> = outcomes
        .iter()
        .filter_map(|outcome| match outcome {
            RotateOutcome::Rotated { record } => Some(record.id.clone()),
            _ => None,
        })
        .collect();
    same(won.len(), 1, "done of 20 rotations at once")?;
    same(ids(&*here, "u1").await?, won.clone(), "the user's sessions")?;
    let lost = outcomes.iter().filter(|outcome| !matches!(outcome, RotateOutcome::Rotated { .. }));
    for outcome in lost {
        let by = won[0].clone();
        same(outcome.clone(), RotateOutcome::Superseded { by }, "a rotation that came later")?;
    }
    Ok(())
}

pub(super) async fn the_old_id_leads_on_for_the_grace(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let (service, old) = (service()?, open(&*here, "u1").await?);
    let to = beside(&old)?;
    let first = Rotation::to(to.clone()).patch(Patch::new().set("a", "1")).grace(Rotation::MAX_GRACE);
    rotated(&*here, "u1", &old, &first).await?;
    let found = |record: Option<SessionRecord>| record.map(|record| (record.id, record.data.len()));
    same(found(there.load(&service, &old).await?), Some((to.clone(), 1)), "loading by the old id")?;
    same(found(there.use_session(&service, &old).await?), Some((to.clone(), 1)), "using by the old id")?;
    let touched = there.touch(&service, &old).await?;
    ensure(matches!(touched, TouchOutcome::Touched { .. }), "touched by the old id", touched)?;
    let patch = Patch::new().set("b", "1");
    let moved = PatchOutcome::Moved { to: to.clone() };
    same(there.patch(&service, &old, &patch).await?, moved, "patching by the old id")?;
    let again = Rotation::to(beside(&old)?);
    let superseded = RotateOutcome::Superseded { by: to.clone() };
    same(there.rotate(&service, "u1", &old, &again).await?, superseded, "rotating by the old id")?;
    // Through another rotation.
    let last = beside(&to)?;
    let second = Rotation::to(last.clone()).grace(Rotation::MAX_GRACE);
    rotated(&*there, "u1", &to, &second).await?;
    same(
        found(here.load(&service, &old).await?),
        Some((last.clone(), 1)),
        "by the first id, after two rotations",
    )?;
    same(ids(&*here, "u1").await?, vec![last.clone()], "the user's sessions")?;
    let ended = here.destroy(&service, &old).await?.map(|record| record.id);
    same(ended, Some(last.clone()), "ending by the old id")?;
    for id in [&old, &to, &last] {
        same(there.load(&service, id).await?, None, "what has ended, by any id")?;
    }
    Ok(())
}

pub(super) async fn the_old_id_is_kept_with_its_session(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let (service, old, other) = (service()?, open(&*here, "u1").await?, open(&*here, "u1").await?);
    let to = beside(&old)?;
    rotated(&*here, "u1", &old, &Rotation::to(to.clone()).grace(Rotation::MAX_GRACE)).await?;
    let ended = there.destroy_all(&service, "u1", Some(&old)).await?;
    same(ended, vec![other], "ended but for the session of an old id")?;
    same(ids(&*here, "u1").await?, vec![to.clone()], "the user's sessions")?;
    let found = here.load(&service, &old).await?.map(|record| record.id);
    same(found, Some(to), "loading by the old id of what was kept")
}

pub(super) async fn the_grace_ends(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let old = open(&*store, "u1").await?;
    let to = beside(&old)?;
    let grace = cx.short().as_duration().min(Rotation::MAX_GRACE / 2);
    rotated(&*store, "u1", &old, &Rotation::to(to.clone()).grace(grace)).await?;
    cx.pass(stanchion::time::Ttl::new(grace)?).await;
    is_gone(&*store, &old).await?;
    let gone = store.rotate(&service()?, "u1", &old, &Rotation::to(beside(&old)?)).await?;
    same(gone, RotateOutcome::Gone, "rotating by an id whose grace is over")?;
    same(ids(&*store, "u1").await?, vec![to], "the session goes on")
}

pub(super) async fn what_may_not_be_rotated_is_not(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let (service, id) = (service()?, open(&*store, "u1").await?);
    let can = store.capabilities();
    let rotate = async |user: &str, id: &SessionId, rotation: Rotation| {
        store.rotate(&service, user, id, &rotation).await
    };
    let to = || beside(&id);
    same(rotate("u2", &id, Rotation::to(to()?)).await?, RotateOutcome::Gone, "a session of another user")?;
    same(rotate("", &id, Rotation::to(to()?)).await?, RotateOutcome::Gone, "as if it were nobody's")?;
    let stale = Rotation::to(to()?).patch(Patch::new().expecting(7));
    same(rotate("u1", &id, stale).await?, RotateOutcome::Conflict { version: 1 }, "another version")?;
    let taken = Rotation::to(open(&*store, "u1").await?);
    same(rotate("u1", &id, taken).await?, RotateOutcome::IdTaken, "to the id of another session")?;
    let absent = beside(&id)?;
    same(rotate("u1", &absent, Rotation::to(to()?)).await?, RotateOutcome::Gone, "what is not there")?;
    let large = Patch::new().set("a", vec![0; can.max_data_bytes]);
    let many = (0..=can.max_fields).fold(Patch::new(), |patch, n| patch.set(n.to_string(), ""));
    for (what, rotation) in [
        ("to another bucket", Rotation::to(id_for("somebody else")?)),
        ("to the same id", Rotation::to(id.clone())),
        (
            "with a grace that is too long",
            Rotation::to(to()?).grace(Rotation::MAX_GRACE + Duration::from_millis(1)),
        ),
        ("with too much data", Rotation::to(to()?).patch(large)),
        ("with too many fields", Rotation::to(to()?).patch(many)),
    ] {
        refused(rotate("u1", &id, rotation).await, ErrorKind::InvalidInput, what)?;
    }
    let half = Bytes::from(vec![0; can.max_data_bytes / 2]);
    let patch = Patch::new().set("a", half.clone());
    same(store.patch(&service, &id, &patch).await?, PatchOutcome::Saved { version: 2 }, "half of the bound")?;
    let more = Rotation::to(to()?).patch(Patch::new().set("b", half));
    refused(rotate("u1", &id, more).await, ErrorKind::InvalidInput, "with which it would hold too much")?;
    let loaded = store.load(&service, &id).await?.map(|record| (record.version, record.data.len()));
    same(loaded, Some((2, 1)), "the session after that")
}
