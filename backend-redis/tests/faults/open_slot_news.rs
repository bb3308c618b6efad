//! What is to be published of sessions, while their slot is on its way from one node to another.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use stanchion::key::bucket_of;
use stanchion::random::SystemRandom;
use stanchion::session::outbox::{OutboxItem, OutboxPage, PublisherId, ReapCursor, SessionNews};
use stanchion::session::{
    CreateOutcome, HashingKey, NewSession, SessionEnd, SessionId, SessionLimit, SessionStore, SessionToken,
};
use stanchion_conformance::servers::until;

use crate::open_slot::OpenSlot;
use crate::operations::service;
use crate::support::{TIMEOUT, cluster_config, connect, hour};

const USER: &str = "u1";

type News = BTreeMap<SessionId, Vec<SessionNews>>;

fn key(rest: &str) -> String {
    format!("auth:session:{{{}}}:{rest}", bucket_of(USER) % 1_024)
}

async fn created(sessions: &dyn SessionStore, limit: u32) -> SessionId {
    let token = SessionToken::generate(USER, &SystemRandom).unwrap();
    let id = HashingKey::unkeyed().session_id(&token);
    let new = NewSession::new(id.clone(), USER, hour(), hour(), SessionLimit::EvictOldest(limit)).publish();
    let outcome = sessions.create(&service(), new).await.unwrap();
    assert!(matches!(outcome, CreateOutcome::Created { .. }), "{outcome:?}");
    id
}

/// Adds what is to be published to this.
async fn publish(sessions: &dyn SessionStore, by: &PublisherId, seen: &Mutex<News>) {
    let (outbox, mut from) = (sessions.outbox().unwrap(), Some(ReapCursor::default()));
    while let Some(cursor) = from {
        let reaped = outbox.reap(&service(), cursor, 1_000).await.unwrap();
        from = reaped.next;
        for status in reaped.waiting {
            let read = outbox.read(&service(), status.outbox, by, hour(), 1_000).await.unwrap();
            let OutboxPage::Entries(entries) = read else {
                panic!("{read:?}");
            };
            let positions: Vec<_> = entries.iter().map(|entry| entry.position.clone()).collect();
            for entry in entries {
                let OutboxItem::News { news, id, user, .. } = entry.item else {
                    panic!("{:?}", entry.item);
                };
                assert_eq!(user, USER);
                seen.lock().unwrap().entry(id).or_default().push(news);
            }
            outbox.acknowledge(&service(), status.outbox, by, &positions).await.unwrap();
        }
    }
}

/// All that happens to published sessions, and what is to be published of that.
async fn everything_happens(sessions: &dyn SessionStore, expected: &mut News) {
    let whole = |reason| vec![SessionNews::Created, SessionNews::Ended(reason)];
    let first = created(sessions, 1).await;
    let second = created(sessions, 1).await;
    expected.insert(first, whole(SessionEnd::Evicted));
    assert!(sessions.destroy(&service(), &second).await.unwrap().is_some());
    assert!(sessions.destroy(&service(), &second).await.unwrap().is_none());
    expected.insert(second, whole(SessionEnd::Destroyed));
    let third = created(sessions, 2).await;
    assert_eq!(sessions.destroy_all(&service(), USER, None).await.unwrap(), std::slice::from_ref(&third));
    expected.insert(third, whole(SessionEnd::Destroyed));
}

pub(crate) async fn come_once_and_in_order() {
    let mut slot = OpenSlot::of(&key("u:u1")).await;
    let config = cluster_config(&slot.cluster.urls()).deadline(Duration::from_secs(1));
    let sessions = connect(config).await.session_store().unwrap();
    let by = PublisherId::generate(&SystemRandom).unwrap();
    let (seen, mut expected) = (Mutex::new(News::new()), News::new());
    // Nothing is there yet; then there is something of each, at one node and at the other.
    for moved in [None, Some("e"), Some("o"), Some("u:u1")] {
        if moved.is_some() {
            // They are there when the slot is opened.
            let before = created(&*sessions, 9).await;
            expected.insert(before, vec![SessionNews::Created, SessionNews::Ended(SessionEnd::Evicted)]);
        }
        slot.open().await;
        if let Some(rest) = moved {
            slot.move_key(&key(rest)).await;
        }
        everything_happens(&*sessions, &mut expected).await;
        let kept = created(&*sessions, 9).await;
        // The slot is not waited for.
        publish(&*sessions, &by, &seen).await;
        slot.finish().await;
        slot = OpenSlot { from: slot.to, to: slot.from, ..slot };
        assert!(sessions.destroy(&service(), &kept).await.unwrap().is_some());
        expected.insert(kept, vec![SessionNews::Created, SessionNews::Ended(SessionEnd::Destroyed)]);
        let all = until("the news of all", TIMEOUT, async || {
            publish(&*sessions, &by, &seen).await;
            let seen = seen.lock().unwrap();
            if *seen == expected { Ok(()) } else { Err(format!("{seen:?} in place of {expected:?}")) }
        });
        all.await.unwrap();
    }
    // And no more than once.
    publish(&*sessions, &by, &seen).await;
    assert_eq!(*seen.lock().unwrap(), expected);
}
