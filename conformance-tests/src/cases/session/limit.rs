//! How many sessions a user may have.

use futures_util::future::try_join_all;
use stanchion::session::{CreateOutcome, NewSession, SessionLimit};

use super::common::{create, ids, is_gone, new, open, service};
use crate::check::{fail, same};
use crate::{Context, Outcome};

pub(super) async fn a_limit_rejects(cx: &Context) -> Outcome {
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

pub(super) async fn a_limit_evicts_the_oldest(cx: &Context) -> Outcome {
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

pub(super) async fn a_limit_evicts_the_least_recent(cx: &Context) -> Outcome {
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

pub(super) async fn no_race_exceeds_a_limit(cx: &Context) -> Outcome {
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

pub(super) async fn what_has_ended_does_not_count(cx: &Context) -> Outcome {
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

pub(super) async fn a_lower_limit_ends_the_surplus(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let limited = |user, limit| -> Outcome<NewSession> {
        let mut session = new(user)?;
        session.limit = limit;
        Ok(session)
    };
    for (user, lower) in [("u1", SessionLimit::EvictOldest(2)), ("u2", SessionLimit::EvictLeastRecent(2))] {
        let mut opened = Vec::new();
        for _ in 0..6 {
            opened.push(create(&*store, limited(user, SessionLimit::EvictOldest(6))?).await?.id);
        }
        let session = limited(user, lower)?;
        match store.create(&service()?, session.clone()).await? {
            CreateOutcome::Created { evicted, .. } => {
                same(evicted, opened[..5].to_vec(), "all that are over the lower limit, in order")?;
            }
            other => return fail("created", other),
        }
        same(ids(&*store, user).await?, vec![session.id, opened[5].clone()], "those that are left")?;
        // The number is that of the session that is created, whatever it was for the others.
        let refused = store.create(&service()?, limited(user, SessionLimit::Reject(2))?).await?;
        same(refused, CreateOutcome::LimitReached, "one too many for this role")?;
        create(&*store, limited(user, SessionLimit::Reject(3))?).await?;
    }
    Ok(())
}
