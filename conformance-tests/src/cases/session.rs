//! Sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use stanchion::ErrorKind;
use stanchion::key::{MAX_IDENTIFIER, Name};
use stanchion::random::SystemRandom;
use stanchion::session::{
    CreateOutcome, HashingKey, NewSession, Patch, PatchOutcome, SessionId, SessionLimit, SessionRecord,
    SessionStore, SessionToken, TouchOutcome,
};
use stanchion::time::Ttl;

use super::{process, rules, wall_clock};
use crate::check::{dropped_after, ensure, fail, name, refused, same};
use crate::{Context, Outcome};

fn service() -> Outcome<Name> {
    name("auth")
}

fn id_for(user: &str) -> Outcome<SessionId> {
    Ok(HashingKey::unkeyed().session_id(&SessionToken::generate(user, &SystemRandom)?))
}

const PLENTY: SessionLimit = SessionLimit::Reject(100);

fn new(user: &str) -> Outcome<NewSession> {
    Ok(NewSession::new(id_for(user)?, user, Ttl::MAX, Ttl::MAX, PLENTY))
}

async fn create(store: &dyn SessionStore, session: NewSession) -> Outcome<SessionRecord> {
    match store.create(&service()?, session).await? {
        CreateOutcome::Created { record, evicted } => {
            same(evicted, Vec::new(), "nobody evicted")?;
            Ok(record)
        }
        other => fail("created", other),
    }
}

async fn open(store: &dyn SessionStore, user: &str) -> Outcome<SessionId> {
    Ok(create(store, new(user)?).await?.id)
}

async fn is_gone(store: &dyn SessionStore, id: &SessionId) -> Outcome {
    let service = service()?;
    same(store.load(&service, id).await?, None, "loading what has ended")?;
    same(store.touch(&service, id).await?, TouchOutcome::Gone, "touching what has ended")?;
    let patch = Patch::new().set("a", "b");
    same(store.patch(&service, id, &patch).await?, PatchOutcome::Gone, "patching what has ended")?;
    same(store.load(&service, id).await?, None, "loading it after touch and patch")?;
    same(store.destroy(&service, id).await?, None, "ending what has ended")
}

async fn ids(store: &dyn SessionStore, user: &str) -> Outcome<Vec<SessionId>> {
    Ok(store.list(&service()?, user).await?.into_iter().map(|session| session.id).collect())
}

async fn a_session_is_loaded_as_it_was_created(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let every_byte = Bytes::from((0..=255_u8).collect::<Vec<_>>());
    let data = BTreeMap::from([
        ("a".to_owned(), every_byte),
        ("é:{}".to_owned(), Bytes::new()),
        (String::new(), "x".into()),
    ]);
    let minute = Ttl::new(Duration::from_mins(1))?;
    let mut session = new("u1")?.data(data.clone());
    session.idle = minute;
    let record = create(&*here, session.clone()).await?;
    same(&record.id, &session.id, "the id")?;
    same(record.user.as_str(), "u1", "the user")?;
    same(&record.data, &data, "the fields")?;
    same(record.version, 1, "the first version")?;
    same(record.created_at, record.last_used_at, "creation is a use")?;
    same(
        record.absolute_deadline,
        record.created_at.saturating_add(Ttl::MAX.as_duration()),
        "the absolute deadline",
    )?;
    ensure(record.expires_in <= minute.as_duration(), "the idle timeout is the nearer", record.expires_in)?;
    let Some(mut loaded) = there.load(&service()?, &session.id).await? else {
        return fail("the session", "none");
    };
    ensure(loaded.expires_in <= record.expires_in, "time does not go back", loaded.expires_in)?;
    loaded.expires_in = record.expires_in;
    same(loaded, record, "the session as another handle loads it")?;
    same(there.load(&service()?, &id_for("u1")?).await?, None, "another id")
}

async fn a_taken_id_is_told(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let session = new("u1")?;
    create(&*store, session.clone()).await?;
    let again = session.data(BTreeMap::from([("new".to_owned(), "x".into())]));
    same(store.create(&service()?, again.clone()).await?, CreateOutcome::IdTaken, "the same id again")?;
    let loaded = store.load(&service()?, &again.id).await?.map(|record| record.data);
    same(loaded, Some(BTreeMap::new()), "the first session is as it was")
}

async fn a_patch_changes_what_it_names_and_no_more(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let data = ["keep", "change", "remove"].map(|field| (field.to_owned(), Bytes::from_static(b"old")));
    let id = create(&*here, new("u1")?.data(BTreeMap::from(data))).await?.id;
    let patch = Patch::new().set("change", "new").set("add", "new").remove("remove").remove("never");
    same(there.patch(&service()?, &id, &patch).await?, PatchOutcome::Saved { version: 2 }, "a patch")?;
    let both = Patch::new().remove("both").set("both", "set");
    same(here.patch(&service()?, &id, &both).await?, PatchOutcome::Saved { version: 3 }, "a second patch")?;
    let expected = [("add", "new"), ("both", "set"), ("change", "new"), ("keep", "old")];
    let expected = expected.map(|(field, value)| (field.to_owned(), Bytes::from_static(value.as_bytes())));
    let loaded = here.load(&service()?, &id).await?;
    same(
        loaded.map(|record| (record.data, record.version)),
        Some((BTreeMap::from(expected), 3)),
        "fields and version",
    )
}

async fn a_patch_on_an_old_version_changes_nothing(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let id = open(&*store, "u1").await?;
    let first = Patch::new().set("a", "1").expecting(1);
    same(
        store.patch(&service()?, &id, &first).await?,
        PatchOutcome::Saved { version: 2 },
        "the version expected",
    )?;
    for stale in [1, 3, u64::MAX] {
        let patch = Patch::new().set("a", "2").remove("a").expecting(stale);
        same(
            store.patch(&service()?, &id, &patch).await?,
            PatchOutcome::Conflict { version: 2 },
            "another version",
        )?;
    }
    let loaded = store.load(&service()?, &id).await?;
    same(loaded.and_then(|record| record.data.get("a").cloned()), Some(Bytes::from_static(b"1")), "the field")
}

async fn of_a_race_to_patch_a_version_one_wins(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let id = open(&*here, "u1").await?;
    let (service, patch) = (service()?, Patch::new().set("a", "x").expecting(1));
    let racing = (0..20).map(|n| if n % 2 == 0 { &here } else { &there }.patch(&service, &id, &patch));
    let saved =
        try_join_all(racing).await?.into_iter().filter(|o| matches!(o, PatchOutcome::Saved { .. })).count();
    same(saved, 1, "saved of 20 patches of one version at once")?;
    let blind: Vec<_> = (0..20).map(|n| Patch::new().set(format!("f{n}"), "x")).collect();
    try_join_all(blind.iter().map(|patch| there.patch(&service, &id, patch))).await?;
    let loaded = here.load(&service, &id).await?.map(|record| (record.data.len(), record.version));
    same(loaded, Some((21, 22)), "fields and version after 20 more patches at once")
}

async fn what_was_destroyed_stays_destroyed(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let id = open(&*here, "u1").await?;
    let other = open(&*here, "u1").await?;
    let ended = there.destroy(&service()?, &id).await?.map(|record| (record.id, record.user));
    same(ended, Some((id.clone(), "u1".to_owned())), "what was ended")?;
    is_gone(&*here, &id).await?;
    same(ids(&*here, "u1").await?, vec![other], "the user's other session")
}

async fn a_session_ends_when_it_is_idle(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let mut session = new("u1")?;
    session.idle = cx.short();
    let id = create(&*here, session).await?.id;
    cx.pass(cx.short()).await;
    is_gone(&*there, &id).await?;
    same(ids(&*here, "u1").await?, Vec::new(), "the user's sessions")
}

async fn use_keeps_a_session_alive(cx: &Context) -> Outcome {
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

async fn no_use_moves_the_absolute_deadline(cx: &Context) -> Outcome {
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

async fn a_users_sessions_are_listed_newest_first(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let mut opened = Vec::new();
    for n in 0..5 {
        opened.push(open(&*if n % 2 == 0 { here.clone() } else { there.clone() }, "u1").await?);
        open(&*here, &format!("u1{n}")).await?;
    }
    // Now the oldest is the one that was used last.
    cx.advance(Duration::from_millis(1)).await;
    let _used = here.touch(&service()?, &opened[0]).await?;
    opened.reverse();
    same(ids(&*there, "u1").await?, opened, "by creation, the newest first")?;
    same(ids(&*there, "nobody").await?, Vec::new(), "nobody's sessions")?;
    let listed = there.list(&service()?, "u1").await?.remove(0);
    let loaded = there.load(&service()?, &listed.id).await?.map(|record| record.data);
    same(loaded, Some(listed.data), "a listed session is a whole one")
}

async fn sessions_of_one_instant_are_in_order(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let mut opened = Vec::new();
    // Where time is driven it stands still; elsewhere they are as near to each other as calls can be.
    for _ in 0..16 {
        opened.push(open(&*store, "u1").await?);
    }
    let newest_first: Vec<_> = opened.iter().rev().cloned().collect();
    same(ids(&*store, "u1").await?, newest_first, "of one instant, the newest first")?;
    let mut one_more = new("u1")?;
    one_more.limit = SessionLimit::EvictOldest(14);
    match store.create(&service()?, one_more).await? {
        CreateOutcome::Created { evicted, .. } => {
            same(evicted, opened[..3].to_vec(), "of one instant, those created first make room")
        }
        other => fail("created", other),
    }
}

async fn all_but_one_are_ended(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let mut opened = BTreeSet::new();
    for _ in 0..4 {
        opened.insert(open(&*here, "u1").await?);
    }
    let other = open(&*here, "u2").await?;
    let kept = opened.first().cloned();
    let ended = there.destroy_all(&service()?, "u1", kept.as_ref()).await?;
    let expected: Vec<_> = opened.iter().filter(|id| Some(*id) != kept.as_ref()).cloned().collect();
    same(ended.into_iter().collect::<BTreeSet<_>>(), expected.iter().cloned().collect(), "the ended ones")?;
    for id in &expected {
        is_gone(&*here, id).await?;
    }
    same(ids(&*here, "u1").await?, kept.into_iter().collect(), "the one that was kept")?;
    same(there.destroy_all(&service()?, "u1", None).await?.len(), 1, "the rest")?;
    same(there.destroy_all(&service()?, "u1", None).await?, Vec::new(), "nothing is left")?;
    same(ids(&*here, "u2").await?, vec![other], "another user's sessions")
}

async fn a_limit_rejects(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let limited = |n| -> Outcome<NewSession> {
        let mut session = new("u1")?;
        session.limit = SessionLimit::Reject(n);
        Ok(session)
    };
    let first = create(&*store, limited(2)?).await?.id;
    let second = create(&*store, limited(2)?).await?.id;
    let third = limited(2)?;
    same(store.create(&service()?, third.clone()).await?, CreateOutcome::LimitReached, "one too many")?;
    same(store.load(&service()?, &third.id).await?, None, "the refused session")?;
    same(ids(&*store, "u1").await?, vec![second, first.clone()], "the others are as they were")?;
    let _ended = store.destroy(&service()?, &first).await?;
    create(&*store, third).await.map(drop)
}

async fn a_limit_evicts_the_oldest(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let mut opened = Vec::new();
    for _ in 0..4 {
        opened.push(open(&*store, "u1").await?);
    }
    let _used = store.touch(&service()?, &opened[0]).await?;
    let mut session = new("u1")?;
    session.limit = SessionLimit::EvictOldest(3);
    match store.create(&service()?, session.clone()).await? {
        CreateOutcome::Created { evicted, .. } => {
            same(evicted, opened[..2].to_vec(), "the two oldest, in order")?;
        }
        other => return fail("created", other),
    }
    is_gone(&*store, &opened[0]).await?;
    let left = vec![session.id, opened[3].clone(), opened[2].clone()];
    same(ids(&*store, "u1").await?, left, "those that are left")
}

async fn a_limit_evicts_the_least_recent(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let mut opened = Vec::new();
    for _ in 0..4 {
        opened.push(open(&*store, "u1").await?);
    }
    // Used in another order than created.
    for index in [2, 0, 3, 1] {
        let _used = store.touch(&service()?, &opened[index]).await?;
    }
    let mut session = new("u1")?;
    session.limit = SessionLimit::EvictLeastRecent(3);
    match store.create(&service()?, session).await? {
        CreateOutcome::Created { evicted, .. } => {
            same(evicted, vec![opened[2].clone(), opened[0].clone()], "the two used longest ago, in order")
        }
        other => fail("created", other),
    }
}

async fn no_race_exceeds_a_limit(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let service = service()?;
    for (user, limit) in [
        ("reject", SessionLimit::Reject(3)),
        ("oldest", SessionLimit::EvictOldest(3)),
        ("recent", SessionLimit::EvictLeastRecent(3)),
    ] {
        let mut sessions = Vec::new();
        for _ in 0..20 {
            let mut session = new(user)?;
            session.limit = limit;
            sessions.push(session);
        }
        let racing = sessions
            .into_iter()
            .enumerate()
            .map(|(n, session)| if n % 2 == 0 { &here } else { &there }.create(&service, session));
        let outcomes = try_join_all(racing).await?;
        same(ids(&*here, user).await?.len(), 3, &format!("sessions after 20 at once, {user}"))?;
        if user == "reject" {
            let created = outcomes.iter().filter(|o| matches!(o, CreateOutcome::Created { .. })).count();
            same(created, 3, "created of 20 at once")?;
        }
    }
    Ok(())
}

async fn what_has_ended_does_not_count(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    for _ in 0..2 {
        let mut session = new("u1")?;
        session.idle = cx.short();
        create(&*store, session).await?;
    }
    cx.pass(cx.short()).await;
    let mut session = new("u1")?;
    session.limit = SessionLimit::Reject(1);
    create(&*store, session).await.map(drop)
}

async fn services_stay_apart(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let id = open(&*store, "u1").await?;
    let other = name("other")?;
    same(store.load(&other, &id).await?, None, "loading at another service")?;
    same(store.touch(&other, &id).await?, TouchOutcome::Gone, "touching at another service")?;
    same(store.destroy(&other, &id).await?, None, "ending at another service")?;
    same(store.list(&other, "u1").await?, Vec::new(), "listing at another service")?;
    same(store.destroy_all(&other, "u1", None).await?, Vec::new(), "ending all at another service")?;
    ensure(store.load(&service()?, &id).await?.is_some(), "the session is still there", "none")
}

async fn places_stay_apart(cx: &Context) -> Outcome {
    let (here, elsewhere) = (cx.open().await?.session_store()?, cx.elsewhere().await?.session_store()?);
    let id = open(&*here, "u1").await?;
    same(elsewhere.load(&service()?, &id).await?, None, "loading elsewhere")?;
    same(elsewhere.destroy_all(&service()?, "u1", None).await?, Vec::new(), "ending all elsewhere")?;
    same(ids(&*here, "u1").await?, vec![id], "the session is still there")
}

async fn of_a_race_to_end_a_session_one_is_told(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let (service, id) = (service()?, open(&*here, "u1").await?);
    let racing = (0..20).map(|n| if n % 2 == 0 { &here } else { &there }.destroy(&service, &id));
    let told = try_join_all(racing).await?.into_iter().flatten().count();
    same(told, 1, "told of 20 at once that they ended it")
}

async fn a_dropped_create_is_done_or_not_done(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let data = BTreeMap::from([("a".to_owned(), Bytes::from_static(b"1"))]);
    for polls in 0..8 {
        let (service, user) = (service()?, format!("u{polls}"));
        let session = new(&user)?.data(data.clone());
        dropped_after(polls, store.create(&service, session.clone())).await;
        // What was sent and then dropped may come late, but never in part.
        for listed in store.list(&service, &user).await? {
            same((&listed.data, listed.version), (&data, 1), "the whole session, as it is listed")?;
            let loaded = store.load(&service, &session.id).await?;
            same(loaded.map(|record| record.data), Some(data.clone()), "the whole session, as it is loaded")?;
        }
        if let Some(record) = store.load(&service, &session.id).await? {
            same((&record.data, record.version), (&data, 1), "the whole session")?;
            same(ids(&*store, &user).await?, vec![session.id], "the whole session is listed too")?;
        }
    }
    Ok(())
}

async fn users_stay_apart(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let users = ["a", "A", "a:b", "a%3Ab", "{a}", "a*", "a b", "é", "a\n"];
    for user in users {
        open(&*store, user).await?;
    }
    for user in users {
        let listed = store.list(&service()?, user).await?;
        same(
            listed.into_iter().map(|session| session.user).collect(),
            vec![user.to_owned()],
            "one session of each",
        )?;
    }
    Ok(())
}

async fn bad_arguments_are_refused(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let can = store.capabilities();
    let mut bad = Vec::new();
    for limit in [
        SessionLimit::Reject(0),
        SessionLimit::EvictOldest(0),
        SessionLimit::EvictLeastRecent(can.max_per_user + 1),
    ] {
        let mut session = new("u1")?;
        session.limit = limit;
        bad.push(("a limit out of bounds", session));
    }
    bad.push((
        "an id of another user",
        NewSession::new(id_for("somebody else")?, "u1", Ttl::MAX, Ttl::MAX, PLENTY),
    ));
    bad.push(("no user", new("")?));
    bad.push(("an overlong user", new(&"u".repeat(MAX_IDENTIFIER + 1))?));
    let large = Bytes::from(vec![0; can.max_data_bytes]);
    bad.push(("too much data", new("u1")?.data(BTreeMap::from([("a".to_owned(), large.clone())]))));
    for (what, session) in bad {
        refused(store.create(&service()?, session.clone()).await, ErrorKind::InvalidInput, what)?;
        same(store.load(&service()?, &session.id).await?, None, "nothing was created")?;
    }
    let mut most = new("u1")?;
    most.limit = SessionLimit::Reject(can.max_per_user);
    let id = create(&*store, most).await?.id;
    let patch = Patch::new().set("a", large);
    refused(
        store.patch(&service()?, &id, &patch).await,
        ErrorKind::InvalidInput,
        "a patch with too much data",
    )?;
    same(
        store.load(&service()?, &id).await?.map(|record| record.version),
        Some(1),
        "the version after that",
    )?;
    refused(store.list(&service()?, "").await, ErrorKind::InvalidInput, "listing no user")?;
    refused(store.destroy_all(&service()?, "", None).await, ErrorKind::InvalidInput, "ending all of no user")
}

rules! {
    "SESSION-01" Must "A session is loaded as it was created, through every handle." => [
        "create::loaded_as_created": a_session_is_loaded_as_it_was_created,
    ];
    "SESSION-02" Must "An id that is taken is refused as such, and nothing changes." => ["create::taken_id": a_taken_id_is_told];
    "SESSION-03" Must "A patch changes the fields that it names and no others, and adds one to the version." => [
        "patch::only_what_it_names": a_patch_changes_what_it_names_and_no_more,
    ];
    "SESSION-04" Must "A patch that expects another version changes nothing, and tells the version." => [
        "patch::conflict": a_patch_on_an_old_version_changes_nothing,
    ];
    "SESSION-05" Must "Of any number of patches of one version at once one is saved; of blind patches none is lost." => [
        "patch::race": of_a_race_to_patch_a_version_one_wins,
    ];
    "SESSION-06" Must "What was ended stays ended: no use brings it back." => ["destroy::stays_gone": what_was_destroyed_stays_destroyed];
    "SESSION-07" Must "A session ends at its idle deadline." => ["timeout::idle": a_session_ends_when_it_is_idle];
    "SESSION-08" Must "A touch and a patch move the idle deadline, and loading does not." => ["timeout::use_keeps_alive": use_keeps_a_session_alive];
    "SESSION-09" Must "No use moves the absolute deadline." => ["timeout::absolute": no_use_moves_the_absolute_deadline];
    "SESSION-10" Must "A user's live sessions are listed, the newest first; of two created in one instant the newer is the one that was created later." => [
        "list::newest_first": a_users_sessions_are_listed_newest_first,
        "list::created_in_one_instant": sessions_of_one_instant_are_in_order,
    ];
    "SESSION-11" Must "All sessions of a user but one are ended at once." => ["destroy::all_but_one": all_but_one_are_ended];
    "SESSION-12" Must "Reject: a session over the limit is refused, and changes nothing." => ["limit::reject": a_limit_rejects];
    "SESSION-13" Must "EvictOldest: the oldest by creation make room." => ["limit::evict_oldest": a_limit_evicts_the_oldest];
    "SESSION-14" Must "EvictLeastRecent: those used longest ago make room." => ["limit::evict_least_recent": a_limit_evicts_the_least_recent];
    "SESSION-15" Must "No race exceeds a limit." => ["limit::race": no_race_exceeds_a_limit];
    "SESSION-16" Must "What has ended does not count towards a limit." => ["limit::ended_do_not_count": what_has_ended_does_not_count];
    "SESSION-17" Must "Services stay apart." => ["isolation::services": services_stay_apart];
    "SESSION-18" Must "Users stay apart, whatever their ids hold." => ["isolation::users": users_stay_apart];
    "SESSION-19" Must "A limit out of bounds, an id of another user, a bad user id and too much data are refused." => [
        "input::bad_arguments": bad_arguments_are_refused,
    ];
    "SESSION-20" Must "Places stay apart." => ["isolation::places": places_stay_apart];
    "SESSION-21" Must "Of any number of calls at once that end a session, one is answered that it did." => [
        "destroy::race_tells_one": of_a_race_to_end_a_session_one_is_told,
    ];
    "SESSION-22" Must "A dropped create leaves no session, or the whole one, listed and loaded." => [
        "cancel::done_or_not_done": a_dropped_create_is_done_or_not_done,
    ];
    "SESSION-23" Must "No creates of several processes exceed a limit." => ["process::limit_is_kept": process::session::no_limit_is_exceeded];
    "SESSION-24" Must "Sessions are in the order of their creation, also when the store's wall clock is set back or forth." => [
        "wall_clock::order_is_by_creation": wall_clock::session::order_is_by_creation,
    ];
    "SESSION-25" Must "A step of the store's wall clock prolongs no session by more than the step." => [
        "wall_clock::lives_after_a_step_back": wall_clock::session::lives_after_a_step_back,
        "wall_clock::lives_after_a_step_forth": wall_clock::session::lives_after_a_step_forth,
    ];
}
