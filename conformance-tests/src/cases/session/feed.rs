//! Being notified of changes to sessions, where a store has a feed of them.

use std::sync::Arc;
use std::time::Duration;

use stanchion::cache::Watch;
use stanchion::key::Name;
use stanchion::random::SystemRandom;
use stanchion::session::{
    CreateOutcome, HashingKey, Patch, RotateOutcome, Rotation, SessionId, SessionLimit, SessionStore,
    SessionToken,
};

use super::common::{create, id_for, new, open, service};
use crate::cases::change_feed::{self, Recorder};
use crate::check::{ensure, fail, name, same};
use crate::{Context, Outcome};

/// Users whose sessions are on each server of a cluster.
const USERS: [&str; 12] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11"];

/// A watch from which on every change is notified; `None` where the store has no feed.
async fn watched(store: &dyn SessionStore, service: &Name) -> Outcome<Option<(Watch, Arc<Recorder>)>> {
    let Some(feed) = store.feed() else { return Ok(None) };
    let mut ids = Vec::new();
    for user in USERS {
        ids.push(open(store, user).await?);
    }
    let names: Vec<_> = ids.iter().map(SessionId::hash_text).collect();
    let touch = async |index: usize| Ok(store.touch(service, &ids[index]).await.map(drop)?);
    change_feed::watched(feed, service, &names, touch).await.map(Some)
}

pub(super) async fn each_change_is_notified(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let service = service()?;
    let Some((_watch, recorder)) = watched(&*there, &service).await? else { return Ok(()) };
    for store in [&here, &there] {
        for user in ["a:s:b{c}", "u1"] {
            let session = new(user)?;
            let id = session.id.clone();
            let hash = id.hash_text();
            let opened = async { create(&**store, session.clone()).await.map(drop) };
            recorder.notifies("the creation of", &hash, opened).await?;
            let patch =
                async { Ok(store.patch(&service, &id, &Patch::new().set("a", "b")).await.map(drop)?) };
            recorder.notifies("a patch of", &hash, patch).await?;
            let touch = async { Ok(store.touch(&service, &id).await.map(drop)?) };
            recorder.notifies("a touch of", &hash, touch).await?;
            // Without an interval each use is recorded.
            let used = async { Ok(store.use_session(&service, &id).await.map(drop)?) };
            recorder.notifies("a use of", &hash, used).await?;
            let to = HashingKey::unkeyed().session_id(&SessionToken::beside(&id, &SystemRandom)?);
            let rotation = Rotation::to(to.clone()).grace(Duration::from_mins(1));
            let rotate = async {
                match store.rotate(&service, user, &id, &rotation).await? {
                    RotateOutcome::Rotated { .. } => Ok(()),
                    other => fail("rotated", other),
                }
            };
            let before = recorder.heard(&to.hash_text());
            recorder.notifies("a rotation of", &hash, rotate).await?;
            let both = |news: &[change_feed::News]| change_feed::heard_in(news, &to.hash_text()) > before;
            recorder.until("a rotation, under the new id", both).await?;
            let destroy = async { Ok(store.destroy(&service, &to).await.map(drop)?) };
            recorder.notifies("the end of", &to.hash_text(), destroy).await?;

            let (one, other) = (open(&**store, user).await?, open(&**store, user).await?);
            let evict = async {
                let mut session = new(user)?;
                session.limit = SessionLimit::EvictOldest(2);
                match store.create(&service, session).await? {
                    CreateOutcome::Created { evicted, .. } => same(evicted, vec![one.clone()], "evicted"),
                    other => fail("created", other),
                }
            };
            recorder.notifies("the eviction of", &one.hash_text(), evict).await?;
            let all = async { Ok(store.destroy_all(&service, user, None).await.map(drop)?) };
            recorder.notifies("the end of all, of", &other.hash_text(), all).await?;
        }
    }
    Ok(())
}

pub(super) async fn a_watch_is_of_one_service(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let (service, other) = (service()?, name("auth-2")?);
    let Some((watch, recorder)) = watched(&*store, &service).await? else { return Ok(()) };
    let session = new("u1")?;
    let foreign = session.id.hash_text();
    let _created = store.create(&other, session).await?;
    // On each server of a cluster: what comes after there is heard after.
    for user in USERS {
        let session = new(user)?;
        let hash = session.id.hash_text();
        let opened = async { create(&*store, session.clone()).await.map(drop) };
        recorder.notifies("the creation of", &hash, opened).await?;
    }
    same(recorder.heard(&foreign), 0, "notifications of another service's session")?;
    drop(watch);
    let before = recorder.news().len();
    let Some((_watch, _second)) = watched(&*store, &service).await? else { return Ok(()) };
    same(recorder.news().len(), before, "what a watcher was notified of, after its watch was dropped")
}

pub(super) async fn a_record_says_when_its_use_is_due(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let (service, every) = (service()?, Duration::from_hours(1));
    let mut session = new("u1")?;
    session.touch_every = every;
    let id = session.id.clone();
    create(&*store, session).await?;
    for record in [store.load(&service, &id).await?, store.use_session(&service, &id).await?] {
        let due = record.map(|record| record.use_due_in);
        let soon = every.saturating_sub(Duration::from_mins(1));
        ensure(due.is_some_and(|due| due > soon && due <= every), "an hour until a use is due", due)?;
    }
    let always = create(&*store, new("u1")?).await?.id;
    let used = store.use_session(&service, &always).await?.map(|record| record.use_due_in);
    same(used, Some(Duration::ZERO), "the time until a use is due, where every use is")?;
    let gone = store.use_session(&service, &id_for("u1")?).await?;
    same(gone, None, "a session that nobody has created")
}
