//! Creating and loading.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use stanchion::session::CreateOutcome;
use stanchion::time::Ttl;

use super::common::{create, id_for, ids, new, service};
use crate::check::{dropped_after, ensure, fail, same};
use crate::{Context, Outcome};

pub(super) async fn a_session_is_loaded_as_it_was_created(cx: &Context) -> Outcome {
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

pub(super) async fn a_taken_id_is_told(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let session = new("u1")?;
    create(&*store, session.clone()).await?;
    let again = session.data(BTreeMap::from([("new".to_owned(), "x".into())]));
    same(store.create(&service()?, again.clone()).await?, CreateOutcome::IdTaken, "the same id again")?;
    let loaded = store.load(&service()?, &again.id).await?.map(|record| record.data);
    same(loaded, Some(BTreeMap::new()), "the first session is as it was")
}

pub(super) async fn a_dropped_create_is_done_or_not_done(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let data = BTreeMap::from([("a".to_owned(), Bytes::from_static(b"1"))]);
    for polls in 0..8 {
        let (service, user) = (service()?, format!("u{polls}"));
        let session = new(&user)?.data(data.clone());
        dropped_after(polls, store.create(&service, session.clone())).await;
        // What was sent and then dropped may come late, but never in part.
        for listed in store.list(&service, &user).await? {
            same(&listed.id, &session.id, "the session as it is listed")?;
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
