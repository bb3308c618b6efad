//! A slot that is on its way from one node to another, for as long as that takes: what is in it goes on.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use stanchion::key::{Key, bucket_of};
use stanchion::limit::Tier;
use stanchion::lock::{AcquireOutcome, Lease, LockRequest, LockToken, Locker, ReleaseOutcome, RenewOutcome};
use stanchion::random::SystemRandom;
use stanchion::session::{
    CreateOutcome, HashingKey, NewSession, Patch, PatchOutcome, Predecessor, RotateOutcome, Rotation,
    SessionId, SessionLimit, SessionStore, SessionToken, TouchOutcome,
};
use stanchion::stores::Stores;
use stanchion::time::Timestamp;
use stanchion::token::{Mark, Scope, TokenFacts, Verdict};
use stanchion_conformance::servers::Cluster;
use tokio::task::JoinSet;

use crate::operations::{lock_key, service};
use crate::support::{cluster_config, connect, hour, soon};

/// A slot on its way between two nodes of a Cluster.
pub(crate) struct OpenSlot {
    pub(crate) cluster: Cluster,
    pub(crate) slot: u16,
    pub(crate) from: usize,
    pub(crate) to: usize,
}

impl OpenSlot {
    /// The slot of this key.
    pub(crate) async fn of(key: &str) -> Self {
        let cluster = Cluster::start().await.unwrap();
        let slot = cluster.slot_of(key).await.unwrap();
        let from = Cluster::first_owner_of(slot);
        Self { cluster, slot, from, to: (from + 1) % 3 }
    }

    async fn stores(&self) -> Stores {
        connect(cluster_config(&self.cluster.urls())).await
    }

    pub(crate) async fn open(&self) {
        self.cluster.begin_migration(self.slot, self.from, self.to).await.unwrap();
    }

    pub(crate) async fn move_key(&self, key: &str) {
        self.cluster.move_key(key, self.from, self.to).await.unwrap();
    }

    pub(crate) async fn finish(&self) {
        self.cluster.move_keys(self.slot, self.from, self.to).await.unwrap();
        self.cluster.finish_migration(self.slot, self.from, self.to).await.unwrap();
    }
}

fn request(token: u8) -> LockRequest {
    LockRequest::new(lock_key(), LockToken::new([token; 16]), hour())
}

async fn acquired(locker: &dyn Locker, token: u8) -> Lease {
    match locker.acquire(&request(token)).await.unwrap() {
        AcquireOutcome::Acquired(lease) => lease,
        busy => panic!("{busy:?}"),
    }
}

/// Takes the lock, which is free, and lets it go.
async fn a_whole_turn(locker: &dyn Locker, token: u8) -> Lease {
    let lease = acquired(locker, token).await;
    let other = locker.acquire(&request(token + 100)).await.unwrap();
    assert!(matches!(other, AcquireOutcome::Busy { .. }), "two holders");
    assert_eq!(locker.renew(std::slice::from_ref(&lease)).await.unwrap(), [RenewOutcome::Held]);
    assert_eq!(locker.inspect(&lock_key()).await.unwrap().map(|(fence, _)| fence), Some(lease.fence));
    assert_eq!(locker.release(&lease).await.unwrap(), ReleaseOutcome::Released);
    assert_eq!(locker.inspect(&lock_key()).await.unwrap(), None);
    lease
}

pub(crate) async fn locks_go_on() {
    let lock = format!("locks:{{{}}}:l:job", bucket_of(lock_key().as_str()) % 1_024);
    let slot = OpenSlot::of(&lock).await;
    let locker = slot.stores().await.locker().unwrap();
    slot.open().await;
    // One that nobody has held, then one that has been held, at the node that the slot leaves and at the other.
    let mut last = a_whole_turn(&*locker, 1).await;
    slot.finish().await;
    let back = OpenSlot { from: slot.to, to: slot.from, ..slot };
    back.open().await;
    for turn in 2..4 {
        let lease = a_whole_turn(&*locker, turn).await;
        assert!(lease.fence > last.fence, "{last:?}, then {lease:?}");
        last = lease;
    }
    let held = acquired(&*locker, 5).await;
    back.move_key(&lock).await;
    assert!(held.fence > last.fence);
    assert_eq!(locker.renew(std::slice::from_ref(&held)).await.unwrap(), [RenewOutcome::Held]);
    assert!(matches!(locker.acquire(&request(6)).await.unwrap(), AcquireOutcome::Busy { .. }));
    assert_eq!(locker.release(&held).await.unwrap(), ReleaseOutcome::Released);
    assert!(a_whole_turn(&*locker, 7).await.fence > held.fence);
    back.finish().await;
    a_whole_turn(&*locker, 8).await;
}

const USER: &str = "u1";

fn new(limit: SessionLimit) -> NewSession {
    let token = SessionToken::generate(USER, &SystemRandom).unwrap();
    let data = [("cart".to_owned(), Bytes::from_static(b"[1]"))].into();
    NewSession::new(HashingKey::unkeyed().session_id(&token), USER, hour(), hour(), limit).data(data)
}

async fn created(sessions: &dyn SessionStore, limit: SessionLimit) -> (SessionId, Vec<SessionId>) {
    let new = new(limit);
    match sessions.create(&service(), new.clone()).await.unwrap() {
        CreateOutcome::Created { record, evicted, .. } => {
            assert_eq!((&record.id, &record.data, record.version), (&new.id, &new.data, 1));
            let found = sessions.load(&service(), &new.id).await.unwrap().expect("it is there");
            let times = |record: &stanchion::session::SessionRecord| {
                (record.created_at, record.last_used_at, record.absolute_deadline, record.data.clone())
            };
            assert_eq!(times(&found), times(&record));
            (record.id, evicted)
        }
        other => panic!("{other:?}"),
    }
}

async fn listed(sessions: &dyn SessionStore) -> Vec<SessionId> {
    sessions.list(&service(), USER).await.unwrap().into_iter().map(|record| record.id).collect()
}

fn stored(id: &SessionId) -> String {
    format!("auth:session:{{{}}}:s:{}", bucket_of(USER) % 1_024, id.hash_text())
}

fn index() -> String {
    format!("auth:session:{{{}}}:u:{USER}", bucket_of(USER) % 1_024)
}

/// Rotates the newer of two sessions, twice; answers under which id it goes on.
async fn rotates_as_ever(sessions: &dyn SessionStore, newer: &SessionId, older: &SessionId) -> SessionId {
    let beside = || {
        let token = SessionToken::beside(newer, &SystemRandom).unwrap();
        HashingKey::unkeyed().session_id(&token)
    };
    let before = sessions.load(&service(), newer).await.unwrap().unwrap();
    let (first, second) = (beside(), beside());
    for (from, to, grace) in [(newer, &first, hour().as_duration() / 60), (&first, &second, Duration::ZERO)] {
        let patch = Patch::new().set("level", to.to_string());
        let rotation = Rotation::to(to.clone()).patch(patch).grace(grace);
        let other = sessions.rotate(&service(), "somebody else", from, &rotation).await;
        assert!(matches!(other, Ok(RotateOutcome::Gone)), "{other:?}");
        let record = match sessions.rotate(&service(), USER, from, &rotation).await.unwrap() {
            RotateOutcome::Rotated { record } => record,
            other => panic!("{other:?}"),
        };
        assert_eq!((&record.id, &record.data["level"]), (to, &Bytes::from(to.to_string())));
        assert_eq!(record.data["cart"], before.data["cart"]);
        assert_eq!(
            (record.created_at, record.absolute_deadline),
            (before.created_at, before.absolute_deadline)
        );
        assert_eq!(listed(sessions).await, [to.clone(), older.clone()]);
        let found = sessions.load(&service(), from).await.unwrap().map(|record| record.id);
        assert_eq!(found, (!grace.is_zero()).then(|| to.clone()));
        let again = sessions.rotate(&service(), USER, from, &Rotation::to(beside())).await.unwrap();
        let superseded = RotateOutcome::Superseded { by: to.clone() };
        assert_eq!(again, if grace.is_zero() { RotateOutcome::Gone } else { superseded });
        assert_eq!(listed(sessions).await, [to.clone(), older.clone()]);
    }
    assert_eq!(sessions.load(&service(), newer).await.unwrap(), None, "what it led to leads nowhere");
    second
}

/// All that is done with sessions, of which there are none before and afterwards.
async fn sessions_do_as_ever(sessions: &dyn SessionStore) {
    assert_eq!(listed(sessions).await, []);
    assert_eq!(sessions.destroy_all(&service(), USER, None).await.unwrap(), []);
    let limit = SessionLimit::EvictOldest(2);
    let (first, evicted) = created(sessions, limit).await;
    assert_eq!((listed(sessions).await, evicted), (vec![first.clone()], vec![]));
    let (second, evicted) = created(sessions, limit).await;
    assert_eq!((listed(sessions).await, evicted), (vec![second.clone(), first.clone()], vec![]));
    let (third, evicted) = created(sessions, limit).await;
    assert_eq!((listed(sessions).await, evicted), (vec![third.clone(), second.clone()], vec![first.clone()]));
    assert_eq!(sessions.load(&service(), &first).await.unwrap(), None);
    // In place of one's own, which is neither counted nor evicted beside another.
    let again = new(limit).replacing(Predecessor::new(third.clone(), 1));
    let stale = new(limit).replacing(Predecessor::new(second.clone(), 7));
    let outcome = sessions.create(&service(), stale).await.unwrap();
    assert_eq!(outcome, CreateOutcome::Conflict { version: 1 });
    match sessions.create(&service(), again.clone()).await.unwrap() {
        CreateOutcome::Created { evicted, replaced, .. } => {
            assert_eq!((evicted, replaced), (vec![], Some(third)));
        }
        other => panic!("{other:?}"),
    }
    let third = again.id;
    assert_eq!(listed(sessions).await, [third.clone(), second.clone()]);
    assert!(sessions.use_session(&service(), &third).await.unwrap().is_some());
    let third = rotates_as_ever(sessions, &third, &second).await;
    assert!(matches!(sessions.touch(&service(), &second).await.unwrap(), TouchOutcome::Touched { .. }));
    let (fourth, evicted) = created(sessions, SessionLimit::EvictLeastRecent(2)).await;
    assert_eq!((listed(sessions).await, evicted), (vec![fourth.clone(), second.clone()], vec![third]));
    let full = sessions.create(&service(), new(SessionLimit::Reject(2))).await.unwrap();
    assert_eq!((full, listed(sessions).await.len()), (CreateOutcome::LimitReached, 2));
    let mut again = new(SessionLimit::Reject(9));
    again.id = fourth.clone();
    assert_eq!(sessions.create(&service(), again).await.unwrap(), CreateOutcome::IdTaken);
    let patch = Patch::new().set("cart", "[]");
    assert_eq!(
        sessions.patch(&service(), &fourth, &patch).await.unwrap(),
        PatchOutcome::Saved { version: 2 }
    );
    assert_eq!(
        sessions.destroy_all(&service(), USER, Some(&fourth)).await.unwrap(),
        std::slice::from_ref(&second)
    );
    assert_eq!(listed(sessions).await, std::slice::from_ref(&fourth));
    assert!(sessions.destroy(&service(), &fourth).await.unwrap().is_some());
    assert_eq!(listed(sessions).await, []);
    let (last, _) = created(sessions, SessionLimit::Reject(1)).await;
    assert_eq!(sessions.destroy_all(&service(), USER, None).await.unwrap(), [last]);
    assert_eq!(listed(sessions).await, []);
}

pub(crate) async fn sessions_go_on() {
    let slot = OpenSlot::of(&index()).await;
    let sessions = slot.stores().await.session_store().unwrap();
    slot.open().await;
    sessions_do_as_ever(&*sessions).await;
    slot.finish().await;
    // Of sessions that are there already, half at one node and half at the other; first with the index still at the first.
    for index_moves in [false, true] {
        let slot = OpenSlot::of(&index()).await;
        let sessions = slot.stores().await.session_store().unwrap();
        let mut ids = Vec::new();
        for _ in 0..4 {
            ids.push(created(&*sessions, SessionLimit::EvictOldest(4)).await.0);
        }
        slot.open().await;
        for id in [&ids[0], &ids[2]] {
            slot.move_key(&stored(id)).await;
        }
        if index_moves {
            slot.move_key(&index()).await;
        }
        ids.reverse();
        assert_eq!(listed(&*sessions).await, ids);
        let (newest, evicted) = created(&*sessions, SessionLimit::EvictOldest(3)).await;
        assert_eq!(evicted, [ids[3].clone(), ids[2].clone()]);
        assert_eq!(listed(&*sessions).await, [newest.clone(), ids[0].clone(), ids[1].clone()]);
        let ended = sessions.destroy_all(&service(), USER, Some(&ids[1])).await.unwrap();
        assert_eq!(ended, [ids[0].clone(), newest]);
        assert_eq!(listed(&*sessions).await, [ids[1].clone()]);
        assert_eq!(sessions.destroy_all(&service(), USER, None).await.unwrap(), [ids[1].clone()]);
        sessions_do_as_ever(&*sessions).await;
        slot.finish().await;
        sessions_do_as_ever(&*sessions).await;
    }
}

/// A session that is rotated again and again while all of its user's are ended is gone under whichever name it has by then. There
/// are many, so that a rotation has its time between finding them and ending them.
pub(crate) async fn no_rotation_gets_past_the_end_of_all() {
    let mut slot = OpenSlot::of(&index()).await;
    let (here, there) = (slot.stores().await, slot.stores().await);
    let (sessions, others) = (here.session_store().unwrap(), there.session_store().unwrap());
    for _ in 0..10 {
        let mut id = created(&*sessions, SessionLimit::EvictOldest(500)).await.0;
        for _ in 0..300 {
            id = created(&*sessions, SessionLimit::EvictOldest(500)).await.0;
        }
        slot.open().await;
        let others = Arc::clone(&others);
        let (begun, mut has_begun) = tokio::sync::watch::channel(false);
        let rotating = tokio::spawn(async move {
            for _ in 0..1_000 {
                let to = HashingKey::unkeyed().session_id(&SessionToken::beside(&id, &SystemRandom).unwrap());
                let rotated = others.rotate(&service(), USER, &id, &Rotation::to(to.clone())).await.unwrap();
                begun.send_replace(true);
                match rotated {
                    RotateOutcome::Rotated { .. } => id = to,
                    RotateOutcome::Gone => return,
                    other => panic!("{other:?}"),
                }
            }
            panic!("it goes on for ever");
        });
        has_begun.wait_for(|has| *has).await.unwrap();
        sessions.destroy_all(&service(), USER, None).await.unwrap();
        // It goes on until it is gone.
        rotating.await.unwrap();
        assert_eq!(listed(&*sessions).await, []);
        slot.finish().await;
        slot = OpenSlot { from: slot.to, to: slot.from, ..slot };
    }
}

/// While the slot is opened, half moved, closed and sent back again.
pub(crate) async fn no_limit_is_exceeded_and_no_end_is_undone() {
    const LIMIT: usize = 3;
    let mut slot = OpenSlot::of(&index()).await;
    let mut workers = JoinSet::new();
    let stop = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let rounds = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let stopped = |stop: &std::sync::atomic::AtomicBool| stop.load(std::sync::atomic::Ordering::SeqCst);
    for worker in 0..4 {
        let sessions = slot.stores().await.session_store().unwrap();
        let (stop, rounds) = (Arc::clone(&stop), Arc::clone(&rounds));
        workers.spawn(async move {
            while !stopped(&stop) {
                let limit = SessionLimit::EvictOldest(u32::try_from(LIMIT).unwrap());
                let CreateOutcome::Created { .. } = sessions.create(&service(), new(limit)).await.unwrap()
                else {
                    panic!("others make room");
                };
                let listed = listed(&*sessions).await;
                // Not of one moment while the slot is open, so one that was evicted may be among them; what it names is
                // therefore looked at once more.
                let mut live = 0;
                for id in &listed {
                    live += usize::from(sessions.load(&service(), id).await.unwrap().is_some());
                }
                assert!(live <= LIMIT, "{live} sessions");
                if worker == 0 {
                    // What was live before is gone afterwards, whoever creates others meanwhile.
                    sessions.destroy_all(&service(), USER, None).await.unwrap();
                    for id in &listed {
                        assert_eq!(sessions.load(&service(), id).await.unwrap(), None);
                    }
                }
                rounds.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            }
        });
    }
    let more = async || {
        let before = rounds.load(std::sync::atomic::Ordering::SeqCst);
        soon("they go on", || rounds.load(std::sync::atomic::Ordering::SeqCst) > before + 40).await;
    };
    for _ in 0..3 {
        more().await;
        slot.open().await;
        more().await;
        // There may be none just now.
        let moved = slot.cluster.move_key(&index(), slot.from, slot.to).await;
        moved.unwrap_or_else(|error| assert!(error.to_string().contains("NOKEY"), "{error}"));
        more().await;
        slot.finish().await;
        slot = OpenSlot { from: slot.to, to: slot.from, ..slot };
    }
    more().await;
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    while let Some(worker) = workers.join_next().await {
        worker.unwrap();
    }
    // Every session that is there is in the index, so that it can be ended.
    let sessions = slot.stores().await.session_store().unwrap();
    created(&*sessions, SessionLimit::EvictOldest(3)).await;
    let listed: BTreeSet<_> = listed(&*sessions).await.iter().map(stored).collect();
    assert!(!listed.is_empty() && listed.len() <= LIMIT, "{listed:?}");
    let pattern = format!("auth:session:{{{}}}:s:*", bucket_of(USER) % 1_024);
    let keys = crate::support::send(&slot.cluster.nodes()[slot.from], &["KEYS", &pattern]).await;
    let keys: BTreeSet<_> = keys.items().iter().map(stanchion_conformance::servers::Reply::text).collect();
    assert_eq!(keys, listed);
}

pub(crate) async fn limits_and_tokens_go_on() {
    let key = Key::new("rate_limit", "login", USER).unwrap();
    let tiers =
        [Tier::new(2, Duration::from_hours(1)).unwrap(), Tier::new(9, Duration::from_hours(2)).unwrap()];
    let slot = OpenSlot::of(key.as_str()).await;
    let limits = slot.stores().await.rate_limiter().unwrap();
    let used = async |n: u32| {
        assert_eq!(limits.peek(&key, &tiers).await.unwrap()[0].remaining, 2 - n);
    };
    slot.open().await;
    assert!(limits.check(&key, &tiers, 1).await.unwrap().is_allowed());
    used(1).await;
    slot.finish().await;
    let back = OpenSlot { from: slot.to, to: slot.from, ..slot };
    back.open().await;
    assert!(limits.check(&key, &tiers, 1).await.unwrap().is_allowed());
    back.move_key(key.as_str()).await;
    assert!(!limits.check(&key, &tiers, 1).await.unwrap().is_allowed());
    limits.refund(&key, &tiers, 1).await.unwrap();
    used(1).await;

    let user = Scope::User(USER.into());
    let scope = format!("auth:token:user:{USER}");
    let slot = OpenSlot::of(&scope).await;
    let tokens = slot.stores().await.token_store().unwrap();
    let facts = TokenFacts::new("j1", vec![(user.clone(), Mark::IssuedAt(Timestamp::from_secs(1)))]);
    slot.open().await;
    assert_eq!(tokens.check(&service(), &facts).await.unwrap(), Verdict::Active);
    tokens.revoke_all(&service(), &user, hour()).await.unwrap();
    assert_ne!(tokens.check(&service(), &facts).await.unwrap(), Verdict::Active);
    tokens.revoke_all(&service(), &user, hour()).await.unwrap();
    slot.finish().await;
    assert_ne!(tokens.check(&service(), &facts).await.unwrap(), Verdict::Active);
}

/// Where nothing else helps than to wait: for as long as the call has time, and no longer.
pub(crate) async fn what_has_to_wait_for_the_slot_waits_until_its_deadline() {
    use stanchion::cache::AllParts as _;
    use stanchion::cache::{LeaseRequest, LeaseToken, Want};
    use stanchion::{Effect, ErrorKind};

    let key = crate::support::key("a");
    let slot = OpenSlot::of(key.as_str()).await;
    let second = Duration::from_secs(1);
    let config = cluster_config(&slot.cluster.urls()).deadline(second).cache_deadline(second);
    let cache = connect(config).await.cache_store().unwrap();
    let request = LeaseRequest::new(key.clone(), LeaseToken::new([1; 16]), hour(), Want::IfAbsent);
    slot.open().await;
    let (fetched, ()) = tokio::join!(cache.fetch(std::slice::from_ref(&request)), async {
        tokio::time::timeout(Duration::from_millis(300), std::future::pending::<()>()).await.unwrap_err();
        slot.finish().await;
    });
    assert!(fetched.is_ok(), "{fetched:?}");
    let back = OpenSlot { from: slot.to, to: slot.from, ..slot };
    back.open().await;
    let error = crate::support::failed(cache.fetch(&[request]).await);
    assert_eq!(crate::support::facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("TRYAGAIN"), "{error}");
}
