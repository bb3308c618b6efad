//! What is stored of sessions that are published, and what becomes of it.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::time::Duration;

use stanchion::random::SystemRandom;
use stanchion::session::outbox::{
    OutboxId, OutboxItem, OutboxPage, PublisherId, ReapCursor, Reaped, SessionNews,
};
use stanchion::session::{CreateOutcome, NewSession, SessionEnd, SessionId, SessionLimit, SessionStore};
use stanchion::time::Ttl;
use stanchion_conformance::servers::until;

use crate::place::{Place, index_key, new_session, service, session_id, session_key, ttl};

const TIMEOUT: Duration = Duration::from_secs(10);

/// The set of expiries, the outbox and the claim on it, of the bucket of `u1`.
fn keys(place: &Place) -> [String; 3] {
    let index = index_key(place);
    let stem = index.strip_suffix("u:u1").unwrap();
    ["e", "o", "c"].map(|key| [stem, key].concat())
}

fn publisher() -> PublisherId {
    PublisherId::generate(&SystemRandom).unwrap()
}

async fn create(store: &dyn SessionStore, session: NewSession) {
    let outcome = store.create(&service(), session).await.unwrap();
    assert!(matches!(outcome, CreateOutcome::Created { .. }), "{outcome:?}");
}

fn short(id: &SessionId) -> NewSession {
    let life = Ttl::new(Duration::from_millis(60)).unwrap();
    NewSession::new(id.clone(), "u1", life, life, SessionLimit::Reject(9)).publish()
}

/// A whole round.
async fn round(store: &dyn SessionStore) -> Vec<Reaped> {
    let (mut from, mut rounds) = (Some(ReapCursor::default()), Vec::new());
    while let Some(cursor) = from {
        let reaped = store.outbox().unwrap().reap(&service(), cursor, 1_000).await.unwrap();
        from = reaped.next;
        rounds.push(reaped);
    }
    rounds
}

/// Rounds until so many have ended in all.
async fn reaped(store: &dyn SessionStore, sessions: u64) {
    let ended = Cell::new(0);
    let rounds = until("so many ends", TIMEOUT, async || {
        ended.set(ended.get() + round(store).await.iter().map(|reaped| reaped.ended).sum::<u64>());
        if ended.get() < sessions { Err(format!("{} have ended", ended.get())) } else { Ok(()) }
    });
    rounds.await.unwrap();
    assert_eq!(ended.get(), sessions);
}

async fn read(store: &dyn SessionStore, of: OutboxId, by: &PublisherId) -> Vec<OutboxItem> {
    match store.outbox().unwrap().read(&service(), of, by, ttl(30), 1_000).await.unwrap() {
        OutboxPage::Entries(entries) => entries.into_iter().map(|entry| entry.item).collect(),
        other => panic!("{other:?}"),
    }
}

async fn acknowledged(store: &dyn SessionStore, of: OutboxId, by: &PublisherId) {
    let outbox = store.outbox().unwrap();
    loop {
        let OutboxPage::Entries(entries) = outbox.read(&service(), of, by, ttl(30), 1_000).await.unwrap()
        else {
            panic!("another has it");
        };
        let positions: Vec<_> = entries.into_iter().map(|entry| entry.position).collect();
        if outbox.acknowledge(&service(), of, by, &positions).await.unwrap() == 0 {
            return;
        }
    }
}

fn news(items: &[OutboxItem]) -> Vec<(SessionNews, SessionId)> {
    let news = items.iter().map(|item| match item {
        OutboxItem::News { news, id, user, .. } => {
            assert_eq!(user, "u1");
            (news.clone(), id.clone())
        }
        other => panic!("{other:?}"),
    });
    news.collect()
}

/// One that lives keeps its place, and the set its expiry, also where it was the only member.
pub(crate) async fn what_lives_is_looked_at_again_later(mut place: Place) {
    let store = place.stores.session_store().unwrap();
    let [expiries, ..] = keys(&place);
    let id = session_id("u1");
    create(&*store, new_session(&id, SessionLimit::Reject(9)).publish()).await;
    let member = format!("{}u1", id.hash_text());
    let score: u64 = place.run("ZSCORE", &[&expiries, &member]).await;
    let kept: i64 = place.run("PTTL", &[&expiries]).await;
    place.run::<()>("ZADD", &[&expiries, "1", &member]).await;
    assert_eq!(round(&*store).await.iter().map(|reaped| reaped.ended).sum::<u64>(), 0);
    assert_eq!(place.run::<u64>("ZSCORE", &[&expiries, &member]).await, score);
    let left: i64 = place.run("PTTL", &[&expiries]).await;
    assert!(left > kept - 10_000 && left <= kept, "{left} of {kept}");
    assert!(store.load(&service(), &id).await.unwrap().is_some());
    assert_eq!(store.list(&service(), "u1").await.unwrap().len(), 1);
}

const TIMED_OUT: SessionNews = SessionNews::Ended(SessionEnd::TimedOut);

pub(crate) async fn what_ends_leaves_nothing(mut place: Place) {
    let store = place.stores.session_store().unwrap();
    let ids: Vec<_> = (0..3).map(|_| session_id("u1")).collect();
    let [expiries, outbox, claim] = keys(&place);
    for id in &ids {
        create(&*store, short(id)).await;
        place.assert_all_expire("session.create, published").await;
    }
    let members: BTreeMap<String, u64> = place.run("ZRANGE", &[&expiries, "0", "-1", "WITHSCORES"]).await;
    assert!(members.contains_key(&format!("{}u1", ids[0].hash_text())), "{members:?}");
    let entry: Vec<(String, BTreeMap<String, String>)> = place.run("XRANGE", &[&outbox, "-", "+"]).await;
    assert_eq!(entry.len(), 3);
    assert_eq!(entry[0].1["news"], "created");
    assert_eq!([&entry[0].1["hash"], &entry[0].1["user"]], [&ids[0].hash_text(), "u1"]);
    // Its key is gone before anybody looks, as all will be where nobody has looked for long.
    place.run::<()>("DEL", &[&session_key(&place, &ids[1])]).await;
    reaped(&*store, 3).await;
    let (of, by) = (store.outbox().unwrap().outbox_of(&ids[0]), publisher());
    let mut ended = news(&read(&*store, of, &by).await);
    place.assert_all_expire("session.read_outbox").await;
    ended.retain(|(news, _)| *news == TIMED_OUT);
    ended.sort_by(|one, other| one.1.cmp(&other.1));
    let mut expected: Vec<_> = ids.iter().map(|id| (TIMED_OUT, id.clone())).collect();
    expected.sort_by(|one, other| one.1.cmp(&other.1));
    assert_eq!(ended, expected);
    acknowledged(&*store, of, &by).await;
    let mut left = place.keys().await;
    left.retain(|key| key.contains(":session:"));
    assert_eq!(left, Vec::<String>::new());
    assert!(!place.keys().await.contains(&claim));
    assert!(store.outbox().unwrap().lead(&service(), &by, ttl(9)).await.unwrap());
    place.assert_all_expire("session.lead").await;
}

pub(crate) async fn a_full_outbox_counts_what_it_does_not_take(mut place: Place) {
    const FILL: &str = "for _ = 1, 10000 do redis.call('XADD', KEYS[1], '*', 'not', 'news') end return 1";
    let store = place.stores.session_store().unwrap();
    let [_, outbox, _] = keys(&place);
    let (ending, kept) = (session_id("u1"), session_id("u1"));
    create(&*store, short(&ending)).await;
    let (of, by) = (store.outbox().unwrap().outbox_of(&ending), publisher());
    acknowledged(&*store, of, &by).await;
    place.run::<()>("EVAL", &[FILL, "1", &outbox]).await;
    place.run::<()>("PEXPIRE", &[&outbox, "600000"]).await;
    create(&*store, new_session(&kept, SessionLimit::Reject(9)).publish()).await;
    assert!(store.destroy(&service(), &kept).await.unwrap().is_some());
    let length: u64 = place.run("XLEN", &[&outbox]).await;
    assert_eq!(length, 10_001);
    // Its time is over, and there is no room for that.
    let key = session_key(&place, &ending);
    while place.run::<u64>("EXISTS", &[&key]).await == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(round(&*store).await.iter().map(|reaped| reaped.ended).sum::<u64>(), 0);
    let last: Vec<(String, BTreeMap<String, String>)> =
        place.run("XREVRANGE", &[&outbox, "+", "-", "COUNT", "1"]).await;
    assert_eq!(last[0].1, BTreeMap::from([("lost".to_owned(), "2".to_owned())]));
    let first = read(&*store, of, &by).await;
    assert!(first.iter().all(|item| *item == OutboxItem::Unreadable), "{:?}", first.first());
    acknowledged(&*store, of, &by).await;
    reaped(&*store, 1).await;
    assert_eq!(news(&read(&*store, of, &by).await), [(TIMED_OUT, ending)]);
}

/// A publisher holds a page while more comes: what is published and what is said to be lost are together what has happened.
pub(crate) async fn what_is_lost_is_counted_once_whoever_holds_a_page(mut place: Place) {
    const FILL: &str = "for _ = 1, 9999 do redis.call('XADD', KEYS[1], '*', 'not', 'news') end return 1";
    let store = place.stores.session_store().unwrap();
    let [_, outbox, _] = keys(&place);
    place.run::<()>("EVAL", &[FILL, "1", &outbox]).await;
    place.run::<()>("PEXPIRE", &[&outbox, "600000"]).await;
    let (part, by) = (store.outbox().unwrap(), publisher());
    let of = part.outbox_of(&session_id("u1"));
    let (mut happened, mut found, mut lost) = (9_999, 0, 0);
    for turn in 0.. {
        let page = part.read(&service(), of, &by, ttl(30), part.bounds().max_page).await.unwrap();
        let OutboxPage::Entries(entries) = page else { panic!("{page:?}") };
        if entries.is_empty() {
            break;
        }
        // Beyond the turn in which the first of what was lost is read.
        for _ in 0..if turn < 15 { 3 } else { 0 } {
            let id = session_id("u1");
            create(&*store, new_session(&id, SessionLimit::Reject(9)).publish()).await;
            assert!(store.destroy(&service(), &id).await.unwrap().is_some());
            happened += 2;
        }
        for entry in &entries {
            match entry.item {
                OutboxItem::Lost(count) => lost += count,
                _ => found += 1,
            }
        }
        let positions: Vec<_> = entries.into_iter().map(|entry| entry.position).collect();
        part.acknowledge(&service(), of, &by, &positions).await.unwrap();
    }
    assert!(lost > 0, "it was never full");
    assert_eq!(found + lost, happened);
}

/// The steps that are taken while the slot is being moved, one after the other, without a Cluster.
pub(crate) async fn what_is_noted_in_the_session_is_published_later(mut place: Place) {
    let store = place.stores.session_store().unwrap();
    let [expiries, ..] = keys(&place);
    let id = session_id("u1");
    create(
        &*store,
        new_session(&id, SessionLimit::Reject(9)).data([("a".to_owned(), "1".into())].into()).publish(),
    )
    .await;
    let key = session_key(&place, &id);
    // As if it had been created in single steps and then ended in one.
    place.run::<()>("HSET", &[&key, "unpublished", "1700000000000000"]).await;
    let (of, by) = (store.outbox().unwrap().outbox_of(&id), publisher());
    acknowledged(&*store, of, &by).await;
    let end = [
        include_str!("../../src/scripts/session_life.lua"),
        include_str!("../../src/scripts/session_change.lua"),
        include_str!("../../src/scripts/session_outbox.lua"),
        include_str!("../../src/scripts/session_end.lua"),
    ]
    .join("\n");
    let bounds = "1000000 1000000 1000000 1000000";
    let lived: (u64, u64) = place.run("EVAL", &[&end, "1", &key, bounds, "", "evicted", ""]).await;
    assert_eq!(lived.0, 1);
    let again: (u64, u64) = place.run("EVAL", &[&end, "1", &key, bounds, "", "destroyed", ""]).await;
    assert_eq!(again.0, 0, "it is ended once");
    place.assert_all_expire("a step that ends a session").await;
    let kept: Vec<String> = place.run("HKEYS", &[&key]).await;
    assert!(!kept.contains(&"d:a".to_owned()), "{kept:?}");
    assert_eq!(store.load(&service(), &id).await.unwrap(), None);
    assert_eq!(store.list(&service(), "u1").await.unwrap(), []);
    // Whoever clears it away publishes it: here the list, elsewhere the reaper.
    assert_eq!(place.run::<u64>("ZCARD", &[&expiries]).await, 0);
    let ended = SessionNews::Ended(SessionEnd::Evicted);
    assert_eq!(news(&read(&*store, of, &by).await), [(SessionNews::Created, id.clone()), (ended, id)]);
}
