//! What is to be published of sessions.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::StreamExt;
use stanchion::ErrorKind;
use stanchion::clock::{Clock, SystemClock};
use stanchion::event::{Received, SubscribeOptions};
use stanchion::random::SystemRandom;
use stanchion::session::outbox::{
    OutboxEntry, OutboxId, OutboxItem, OutboxPage, PublisherId, ReapCursor, SessionNews,
};
use stanchion::session::{
    CreateOutcome, NewSession, Patch, Predecessor, RotateOutcome, Rotation, SessionEnd, SessionId,
    SessionLimit, SessionOutbox, SessionStore, TouchOutcome,
};
use stanchion::stores::Stores;
use stanchion::time::{Monotonic, Ttl};

use super::common::{create, id_for, ids, new, service};
use crate::check::{PATIENCE, ensure, fail, name, refused, same};
use crate::{Context, Failure, Outcome, Time};

const CLAIM: Duration = Duration::from_hours(1);
const PAGE: usize = 100;

/// The part of a store, where it has one. Where it has none, what sessions owe then is demanded.
fn part(store: &dyn SessionStore, stores: &Stores) -> Outcome {
    if store.outbox().is_some() {
        return Ok(());
    }
    let publishing = stores.sessions().publishing().build();
    refused(publishing.map(drop), ErrorKind::Unsupported, "publishing without an outbox")?;
    Err(Failure::Ignored("the session store has no outbox".to_owned()))
}

fn outbox(store: &dyn SessionStore) -> Outcome<&dyn SessionOutbox> {
    store.outbox().ok_or_else(|| Failure::Broken("the outbox is there at one time and not at another".into()))
}

fn publisher() -> Outcome<PublisherId> {
    Ok(PublisherId::generate(&SystemRandom)?)
}

fn claim() -> Outcome<Ttl> {
    Ok(Ttl::new(CLAIM)?)
}

fn published(user: &str) -> Outcome<NewSession> {
    Ok(new(user)?.publish())
}

async fn entries(outbox: &dyn SessionOutbox, of: OutboxId, by: &PublisherId) -> Outcome<Vec<OutboxEntry>> {
    match outbox.read(&service()?, of, by, claim()?, PAGE).await? {
        OutboxPage::Entries(entries) => Ok(entries),
        claimed @ OutboxPage::Claimed => fail("the entries of an outbox", claimed),
        other => fail("entries or a claim", other),
    }
}

type News = (SessionNews, SessionId, String);

fn news(entry: &OutboxEntry) -> Outcome<News> {
    match &entry.item {
        OutboxItem::News { news, id, user, .. } => Ok((news.clone(), id.clone(), user.clone())),
        other => fail("news of a session", other),
    }
}

/// Publishes, as it were, all that is in an outbox.
async fn take(outbox: &dyn SessionOutbox, of: OutboxId, by: &PublisherId) -> Outcome<Vec<News>> {
    let (service, mut taken) = (service()?, Vec::new());
    loop {
        let page = entries(outbox, of, by).await?;
        if page.is_empty() {
            return Ok(taken);
        }
        for entry in &page {
            taken.push(news(entry)?);
        }
        let positions: Vec<_> = page.into_iter().map(|entry| entry.position).collect();
        outbox.acknowledge(&service, of, by, &positions).await?;
    }
}

/// A whole round of the reaper; then all that waits anywhere.
async fn reap(outbox: &dyn SessionOutbox, by: &PublisherId) -> Outcome<Vec<News>> {
    let (service, mut from, mut taken) = (service()?, Some(ReapCursor::default()), Vec::new());
    while let Some(cursor) = from {
        let reaped = outbox.reap(&service, cursor, PAGE).await?;
        for waiting in reaped.waiting {
            taken.extend(take(outbox, waiting.outbox, by).await?);
        }
        from = reaped.next;
    }
    Ok(taken)
}

pub(super) async fn what_happens_is_appended(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let (store, user) = (stores.session_store()?, "u{1}");
    part(&*store, &stores)?;
    let (outbox, by, service) = (outbox(&*store)?, publisher()?, service()?);
    let silent = create(&*store, new(user)?).await?.id;
    let first = create(&*store, published(user)?).await?.id;
    let of = outbox.outbox_of(&first);
    same(outbox.outbox_of(&silent), of, "the outbox of another session of the user")?;
    let mut limited = published(user)?;
    limited.limit = SessionLimit::EvictOldest(1);
    let second = match store.create(&service, limited).await? {
        CreateOutcome::Created { record, .. } => record.id,
        other => return fail("created", other),
    };
    let _ended = store.destroy(&service, &second).await?;
    same(store.destroy(&service, &second).await?, None, "ending it again")?;
    let third = create(&*store, published(user)?).await?.id;
    store.destroy_all(&service, user, None).await?;
    let mut seen = BTreeMap::<SessionId, Vec<SessionNews>>::new();
    for (news, id, whose) in take(outbox, of, &by).await? {
        same(whose.as_str(), user, "the user in the news")?;
        seen.entry(id).or_default().push(news);
    }
    let ended = |reason| vec![SessionNews::Created, SessionNews::Ended(reason)];
    let expected = BTreeMap::from([
        (first, ended(SessionEnd::Evicted)),
        (second, ended(SessionEnd::Destroyed)),
        (third, ended(SessionEnd::Destroyed)),
    ]);
    same(seen, expected, "the news of each published session, in order")
}

pub(super) async fn another_id_and_another_session_are_appended(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let (store, user) = (stores.session_store()?, "u1");
    part(&*store, &stores)?;
    let (outbox, by, service) = (outbox(&*store)?, publisher()?, service()?);
    let first = create(&*store, published(user)?).await?.id;
    let second = id_for(user)?;
    let rotated = store.rotate(&service, user, &first, &Rotation::to(second.clone())).await?;
    let RotateOutcome::Rotated { record } = rotated else {
        return fail("rotated", rotated);
    };
    let third = published(user)?.replacing(Predecessor::new(second.clone(), record.version));
    let third = match store.create(&service, third).await? {
        CreateOutcome::Created { record, .. } => record.id,
        other => return fail("created", other),
    };
    let mut seen = BTreeMap::<SessionId, Vec<SessionNews>>::new();
    for (news, id, _) in take(outbox, outbox.outbox_of(&first), &by).await? {
        seen.entry(id).or_default().push(news);
    }
    let expected = BTreeMap::from([
        (first, vec![SessionNews::Created, SessionNews::Rotated { to: second.clone() }]),
        (second, vec![SessionNews::Ended(SessionEnd::Replaced)]),
        (third.clone(), vec![SessionNews::Created]),
    ]);
    same(seen, expected, "the news of a session that was rotated, and of one in its place")?;
    store.destroy_all(&service, user, None).await?;
    let ended = (SessionNews::Ended(SessionEnd::Destroyed), third, user.to_owned());
    same(reap(outbox, &by).await?, vec![ended], "the end of the last")
}

pub(super) async fn what_is_read_stays_until_it_is_acknowledged(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    let (store, by) = (here.session_store()?, publisher()?);
    part(&*store, &here)?;
    let mut opened = Vec::new();
    for _ in 0..3 {
        opened.push(create(&*store, published("u1")?).await?.id);
    }
    let of = outbox(&*store)?.outbox_of(&opened[0]);
    let read = entries(outbox(&*store)?, of, &by).await?;
    same(read.len(), 3, "entries")?;
    // As if the first publisher had died after it has read, or published.
    let other = there.session_store()?;
    let left = outbox(&*other)?;
    same(entries(left, of, &by).await?, read.clone(), "what was read, read again")?;
    let positions: Vec<_> = read.iter().take(2).map(|entry| entry.position.clone()).collect();
    same(left.acknowledge(&service()?, of, &by, &positions).await?, 1, "left after two")?;
    same(left.acknowledge(&service()?, of, &by, &positions).await?, 1, "left after the same two again")?;
    same(entries(left, of, &by).await?, read[2..].to_vec(), "the third")?;
    same(take(left, of, &by).await?.len(), 1, "the third again")?;
    same(entries(left, of, &by).await?, Vec::new(), "nothing after it")
}

pub(super) async fn an_end_by_time_is_found_by_whoever_looks(cx: &Context) -> Outcome {
    let (gone, by) = (cx.open().await?, publisher()?);
    let store = gone.session_store()?;
    part(&*store, &gone)?;
    let mut opened = Vec::new();
    for n in 0..20 {
        let user = format!("u{n}");
        let mut session = published(&user)?;
        session.idle = cx.short();
        opened.push((create(&*store, session).await?.id, user));
    }
    let kept = create(&*store, published("u0")?).await?.id;
    // On a slow machine some have ended by now.
    let mut news = reap(outbox(&*store)?, &by).await?;
    drop(store);
    gone.close(Duration::from_secs(5)).await?;
    // Nobody is there when they end.
    cx.pass(cx.short()).await;
    let stores = cx.open().await?;
    let store = stores.session_store()?;
    news.extend(reap(outbox(&*store)?, &by).await?);
    let mut ended = BTreeMap::new();
    for (news, id, user) in news {
        // Some may have been created too late to have been read above.
        if news != SessionNews::Created {
            same(news, SessionNews::Ended(SessionEnd::TimedOut), "the news of a session that timed out")?;
            same(ended.insert(id, user), None, "the end of a session, once")?;
        }
    }
    same(ended, opened.into_iter().collect(), "the sessions that timed out, with their users")?;
    same(ids(&*store, "u0").await?, vec![kept], "the sessions of a user after one was reaped")?;
    same(reap(outbox(&*store)?, &by).await?, Vec::new(), "the news of a second round")
}

/// A session that was used after it was created, looked for after the deadline that it had at first: the id, or `None` where the
/// machine was too slow to tell.
async fn used_and_looked_for(
    cx: &Context,
    store: &dyn SessionStore,
    by: &PublisherId,
    idle: Ttl,
) -> Outcome<Option<SessionId>> {
    let (service, life) = (service()?, idle.as_duration());
    let elapsed = |since: Monotonic| match cx.time() {
        Time::Manual => Duration::ZERO,
        Time::Real => SystemClock.now().saturating_since(since),
    };
    let mut session = published("u1")?;
    session.idle = idle;
    let begun = SystemClock.now();
    let id = create(store, session).await?.id;
    cx.advance(life * 3 / 4).await;
    let used = SystemClock.now();
    if store.touch(&service, &id).await? == TouchOutcome::Gone {
        return if elapsed(begun) < life { fail("touched", "gone") } else { Ok(None) };
    }
    cx.advance(life / 2).await;
    let (found, there) = (reap(outbox(store)?, by).await?, store.load(&service, &id).await?.is_some());
    let is_listed = ids(store, "u1").await?.contains(&id);
    if elapsed(used) >= life {
        return Ok(None);
    }
    let found: Vec<_> = found.into_iter().filter(|(_, ended, _)| *ended == id).collect();
    let created = (SessionNews::Created, id.clone(), "u1".to_owned());
    same(found, vec![created], "the news of a session that was used")?;
    ensure(there, "a session that was used is there", "it is gone")?;
    ensure(is_listed, "a session that was used is listed", "it is not")?;
    Ok(Some(id))
}

pub(super) async fn what_was_used_is_not_reaped(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let (store, by) = (stores.session_store()?, publisher()?);
    part(&*store, &stores)?;
    let mut idle = cx.short();
    for _ in 0..8 {
        let Some(id) = used_and_looked_for(cx, &*store, &by, idle).await? else {
            idle = Ttl::new(idle.as_duration() * 2)?;
            continue;
        };
        cx.pass(idle).await;
        let mut found = reap(outbox(&*store)?, &by).await?;
        found.retain(|(_, ended, _)| *ended == id);
        let ended = (SessionNews::Ended(SessionEnd::TimedOut), id, "u1".to_owned());
        return same(found, vec![ended], "the news once its time is over");
    }
    Err(Failure::Broken("the machine was too slow, eight times".to_owned()))
}

pub(super) async fn an_outbox_is_one_publishers_at_a_time(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let (store, service) = (stores.session_store()?, service()?);
    part(&*store, &stores)?;
    let (outbox, one, other) = (outbox(&*store)?, publisher()?, publisher()?);
    let of = outbox.outbox_of(&create(&*store, published("u1")?).await?.id);
    let read = entries(outbox, of, &one).await?;
    let claimed = outbox.read(&service, of, &other, claim()?, PAGE).await?;
    same(claimed, OutboxPage::Claimed, "an outbox that another publisher has claimed")?;
    let positions: Vec<_> = read.into_iter().map(|entry| entry.position).collect();
    same(outbox.acknowledge(&service, of, &one, &positions).await?, 0, "left")?;
    same(outbox.read(&service, of, &other, claim()?, PAGE).await?, OutboxPage::Entries(vec![]), "then")?;
    let second = create(&*store, published("u1")?).await?.id;
    let short = cx.short();
    let begun = outbox.read(&service, of, &one, short, PAGE).await?;
    ensure(matches!(&begun, OutboxPage::Entries(page) if page.len() == 1), "one entry", begun)?;
    // The first has died.
    cx.pass(short).await;
    let taken: Vec<_> = take(outbox, of, &other).await?;
    same(taken, vec![(SessionNews::Created, second, "u1".to_owned())], "what the other finds then")
}

pub(super) async fn one_publisher_reaps_at_a_time(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    let (store, other_store) = (here.session_store()?, there.session_store()?);
    part(&*store, &here)?;
    let (here, there, service) = (outbox(&*store)?, outbox(&*other_store)?, service()?);
    let (one, other, hour) = (publisher()?, publisher()?, claim()?);
    same(here.lead(&service, &one, hour).await?, true, "the first to ask")?;
    same(there.lead(&service, &other, hour).await?, false, "another")?;
    same(there.lead(&name("other")?, &other, hour).await?, true, "another, for another service")?;
    same(here.lead(&service, &one, cx.short()).await?, true, "the first again, for less")?;
    cx.pass(cx.short()).await;
    same(there.lead(&service, &other, hour).await?, true, "another, once that is over")?;
    same(here.lead(&service, &one, hour).await?, false, "the first, after that")
}

pub(super) async fn bad_limits_are_refused(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let (store, service, by) = (stores.session_store()?, service()?, publisher()?);
    part(&*store, &stores)?;
    let (outbox, of) = (outbox(&*store)?, OutboxId::new(0));
    let most = outbox.bounds().max_page;
    ensure(most > 0, "bounds above zero", outbox.bounds())?;
    // Whoever is reading a page would publish a count that still grows.
    let room = outbox.bounds().max_entries > most as u64;
    ensure(room, "an outbox that takes more entries than a page", outbox.bounds())?;
    for limit in [0, most + 1] {
        let reaped = outbox.reap(&service, ReapCursor::default(), limit).await;
        refused(reaped, ErrorKind::InvalidInput, &format!("reaping {limit}"))?;
        let read = outbox.read(&service, of, &by, claim()?, limit).await;
        refused(read, ErrorKind::InvalidInput, &format!("reading {limit}"))?;
    }
    outbox.reap(&service, ReapCursor::default(), most).await?;
    outbox.read(&service, of, &by, claim()?, most).await?;
    Ok(())
}

/// The next event, while time passes.
async fn event(
    cx: &Context,
    events: &mut Box<dyn stanchion::event::Subscription>,
) -> Outcome<(String, serde_json::Value)> {
    let step = cx.short().as_duration() / 4;
    let waiting = async {
        loop {
            match tokio::time::timeout(Duration::from_millis(20), events.next()).await {
                Ok(Some(Received::Event(event))) => {
                    return Ok((event.event_type.as_str().to_owned(), event.data));
                }
                Ok(other) => return fail("an event", other),
                Err(_) => cx.advance(step).await,
            }
        }
    };
    match tokio::time::timeout(PATIENCE, waiting).await {
        Ok(event) => event,
        Err(_) => fail(format!("an event, within {PATIENCE:?}"), "nothing"),
    }
}

pub(super) async fn ends_reach_subscribers(cx: &Context) -> Outcome {
    let stores = cx.open().await?.service("auth")?;
    part(&*stores.session_store()?, &stores)?;
    let life = cx.short().as_duration();
    // A life much longer than a turn, and a turn that a manual clock reaches by itself.
    let publishing = |stores: &Stores| {
        let every = (life / 4).max(Duration::from_millis(50)).min(Duration::from_hours(1));
        stores.sessions().publishing().idle_timeout(life * 2).absolute_timeout(life * 2).reap_every(every)
    };
    let mut events = stores.event_bus()?.subscribe(SubscribeOptions::new(name("auth")?)).await?;
    let sessions = publishing(&stores).build()?;
    let Some(opened) = sessions.create("u1", Patch::new()).await? else {
        return fail("a session", "none");
    };
    let id = opened.session.id().to_string();
    let (event_type, data) = event(cx, &mut events).await?;
    same(event_type.as_str(), "auth.session_created", "the first event")?;
    same(data, serde_json::json!({"user_id": "u1", "session_id": id}), "its data")?;
    // It ends while nobody reaps.
    drop(sessions);
    let _other = publishing(&stores).build()?;
    let (event_type, data) = event(cx, &mut events).await?;
    same(event_type.as_str(), "auth.session_expired", "the event of a session that timed out")?;
    let expected = serde_json::json!({"user_id": "u1", "session_id": id, "reason": "timed_out"});
    same(data, expected, "its data")
}
