//! A session that is rotated again and again while its slot is on its way to another node and back: whoever comes by with its last
//! id, lists it, or logs in beside it finds it, once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use stanchion::key::bucket_of;
use stanchion::random::SystemRandom;
use stanchion::session::{
    CreateOutcome, Device, HashingKey, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionId,
    SessionLimit, SessionStore, SessionToken, TouchOutcome,
};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::open_slot::OpenSlot;
use crate::operations::service;
use crate::support::{cluster_config, connect, hour, soon};

const USER: &str = "u1";
const ROTATED: &str = "rotated";
/// How far rotations may be ahead of those who follow them: each leads on, through so many at most.
const AHEAD: usize = Rotation::MAX_HOPS - 3;

fn id() -> SessionId {
    HashingKey::unkeyed().session_id(&SessionToken::generate(USER, &SystemRandom).unwrap())
}

fn new(limit: SessionLimit) -> NewSession {
    NewSession::new(id(), USER, hour(), hour(), limit)
}

async fn created(sessions: &dyn SessionStore, session: NewSession) -> SessionId {
    let id = session.id.clone();
    match sessions.create(&service(), session).await.unwrap() {
        CreateOutcome::Created { evicted, .. } => assert_eq!(evicted, [], "one was counted twice"),
        other => panic!("{other:?}"),
    }
    id
}

/// What all of them share.
#[derive(Clone)]
struct Race {
    stop: Arc<AtomicBool>,
    /// The rounds of each who follows.
    rounds: Arc<[AtomicUsize; 3]>,
    last: watch::Receiver<(usize, SessionId)>,
}

impl Race {
    fn goes_on(&self) -> bool {
        !self.stop.load(Ordering::SeqCst)
    }

    fn done(&self, who: usize) {
        self.rounds[who].fetch_add(1, Ordering::SeqCst);
    }

    fn total(&self) -> usize {
        self.rounds.iter().map(|rounds| rounds.load(Ordering::SeqCst)).min().unwrap_or_default()
    }
}

async fn rotates(race: Race, sessions: Arc<dyn SessionStore>, last: watch::Sender<(usize, SessionId)>) {
    let seen = || (race.rounds[0].load(Ordering::SeqCst), race.total());
    // The rounds of those who follow, and of all, and how many rotations there were since.
    let (mut rounds, mut since) = (seen(), (0, 0));
    while race.goes_on() {
        let (from, to) = (last.borrow().1.clone(), id());
        let rotation = Rotation::to(to.clone()).grace(Rotation::MAX_GRACE).patch(Patch::new().set("a", "1"));
        match sessions.rotate(&service(), USER, &from, &rotation).await.unwrap() {
            RotateOutcome::Rotated { record } => assert_eq!(record.id, to),
            other => panic!("{other:?}"),
        }
        last.send_modify(|(rotations, id)| (*rotations, *id) = (*rotations + 1, to));
        since = (since.0 + 1, since.1 + 1);
        // So that an id leads on through all the rotations that come while it is asked for, and a list, which is read again for each
        // of them, comes to an end.
        loop {
            let now = seen();
            since =
                (if now.0 == rounds.0 { since.0 } else { 0 }, if now.1 == rounds.1 { since.1 } else { 0 });
            rounds = now;
            if (since.0 < AHEAD && since.1 < AHEAD) || !race.goes_on() {
                break;
            }
            tokio::task::yield_now().await;
        }
    }
}

async fn follows(race: Race, sessions: Arc<dyn SessionStore>) {
    let service = service();
    while race.goes_on() {
        let id = race.last.borrow().1.clone();
        assert!(sessions.load(&service, &id).await.unwrap().is_some(), "loaded by its last id");
        let id = race.last.borrow().1.clone();
        assert!(sessions.use_session(&service, &id).await.unwrap().is_some(), "used by its last id");
        let id = race.last.borrow().1.clone();
        assert_ne!(
            sessions.touch(&service, &id).await.unwrap(),
            TouchOutcome::Gone,
            "touched by its last id"
        );
        race.done(0);
    }
}

async fn lists(race: Race, sessions: Arc<dyn SessionStore>) {
    while race.goes_on() {
        let listed = sessions.list(&service(), USER).await.unwrap();
        let is_it = |label: &Option<String>| label.as_deref() == Some(ROTATED);
        let rotated = listed.iter().filter(|session| is_it(&session.device.label)).count();
        assert_eq!(rotated, 1, "{listed:?}");
        race.done(1);
    }
}

async fn logs_in(race: Race, sessions: Arc<dyn SessionStore>) {
    for round in 0.. {
        if !race.goes_on() {
            return;
        }
        // As many as there are.
        let limit = if round % 2 == 0 { SessionLimit::Reject(2) } else { SessionLimit::EvictOldest(2) };
        let beside = created(&*sessions, new(limit)).await;
        let ended = sessions.destroy(&service(), &beside).await.unwrap();
        assert!(ended.is_some(), "it was just created");
        race.done(2);
    }
}

pub(crate) async fn a_session_that_is_rotated_is_found_by_all() {
    let index = format!("auth:session:{{{}}}:u:{USER}", bucket_of(USER) % 1_024);
    let mut slot = OpenSlot::of(&index).await;
    let store = async || {
        let config = cluster_config(&slot.cluster.urls());
        connect(config).await.session_store().unwrap()
    };
    let sessions = store().await;
    let first = created(&*sessions, new(SessionLimit::Reject(1)).device(Device::new().label(ROTATED))).await;
    let (last, seen) = watch::channel((0, first));
    let race = Race { stop: Arc::default(), rounds: Arc::default(), last: seen.clone() };
    let mut workers = JoinSet::new();
    workers.spawn(rotates(race.clone(), store().await, last));
    workers.spawn(follows(race.clone(), store().await));
    workers.spawn(lists(race.clone(), store().await));
    workers.spawn(logs_in(race.clone(), store().await));
    let mut more = async |rounds: usize| {
        let before = (race.total(), seen.borrow().0);
        let going_on =
            soon("they go on", || race.total() >= before.0 + rounds && seen.borrow().0 >= before.1 + rounds);
        tokio::select! {
            biased;
            Some(failed) = workers.join_next() => panic!("{:?}", failed.err()),
            () = going_on => {}
        }
    };
    for _ in 0..6 {
        more(10).await;
        slot.open().await;
        more(30).await;
        // There may be none just now.
        let moved = slot.cluster.move_key(&index, slot.from, slot.to).await;
        moved.unwrap_or_else(|error| assert!(error.to_string().contains("NOKEY"), "{error}"));
        more(30).await;
        slot.finish().await;
        slot = OpenSlot { from: slot.to, to: slot.from, ..slot };
    }
    more(10).await;
    race.stop.store(true, Ordering::SeqCst);
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    let last = seen.borrow().1.clone();
    let patch = Patch::new().set("a", "2");
    let patched = sessions.patch(&service(), &last, &patch).await.unwrap();
    assert!(matches!(patched, PatchOutcome::Saved { .. }), "{patched:?}");
    tokio::time::timeout(Duration::from_secs(30), sessions.destroy_all(&service(), USER, None))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(sessions.list(&service(), USER).await.unwrap(), []);
}
