//! A session that is rotated in steps, as while its slot is being moved: what others leave of it who come between two of them and
//! have all keys, since the slot has moved meanwhile.

use std::time::Duration;

use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, Predecessor, RotateOutcome, Rotation, SessionId,
    SessionLimit, SessionStore, TouchOutcome,
};

use crate::place::{Place, index_key, new_session, service, session_id, session_key};

macro_rules! script {
    ($($file:literal)+) => {
        concat!($(include_str!(concat!("../../src/scripts/", $file)), "\n"),+)
    };
}
const RESERVE: &str = script!("session_life.lua" "session_reserve.lua");
const BESIDE: &str = script!("session_life.lua" "session_beside.lua");
const SUPERSEDE: &str =
    script!("session_life.lua" "session_change.lua" "session_outbox.lua" "session_supersede.lua");
const CONFIRM: &str = script!("session_life.lua" "session_confirm.lua");
const END: &str = script!("session_life.lua" "session_change.lua" "session_outbox.lua" "session_end.lua");
const BOUNDS: &str = "9000000 9000000 9000000 9000000";
const GRACE: &str = "60000";

/// A session that is being rotated.
struct Rotating {
    old: SessionId,
    new: SessionId,
    created: String,
    deadline: String,
}

impl Rotating {
    /// It is reserved under its new id, and in the index beside the old one.
    async fn begin(place: &mut Place) -> Self {
        let (old, new) = (session_id("u1"), session_id("u1"));
        create(&*place.stores.session_store().unwrap(), new_session(&old, SessionLimit::Reject(9))).await;
        let key = session_key(place, &old);
        let created: String = place.run("HGET", &[&key, "created"]).await;
        let deadline: String = place.run("HGET", &[&key, "deadline"]).await;
        let (old_hash, new_hash, reserved) = (old.hash_text(), new.hash_text(), session_key(place, &new));
        let args = [RESERVE, "1", &reserved, BOUNDS, "token", "u1", "60000", &old_hash, "d:a", "1"];
        assert_eq!(place.run::<u64>("EVAL", &args).await, 1);
        let index = index_key(place);
        let args = [BESIDE, "1", &index, BOUNDS, &old_hash, &new_hash, &created, "660000"];
        let _: u64 = place.run("EVAL", &args).await;
        Self { old, new, created, deadline }
    }

    /// The old id becomes a pointer.
    async fn supersede(&self, place: &mut Place) {
        let (key, to) = (session_key(place, &self.old), self.new.to_string());
        let args = [SUPERSEDE, "1", &key, BOUNDS, "u1", "1", &to, GRACE];
        let done: Vec<String> = place.run("EVAL", &args).await;
        assert_eq!(done, ["done"]);
    }

    /// It goes on under the new id, if nobody has ended it.
    async fn confirm(&self, place: &mut Place) -> Option<Vec<i64>> {
        self.confirm_until(place, &self.deadline).await
    }

    async fn confirm_until(&self, place: &mut Place, deadline: &str) -> Option<Vec<i64>> {
        let (key, created) = (session_key(place, &self.new), self.created.as_str());
        let args =
            [CONFIRM, "1", &key, BOUNDS, "token", created, "60000", "0", "0", "", deadline, "2", "", ""];
        place.run("EVAL", &args).await
    }

    async fn is_whole(&self, place: &mut Place) {
        assert!(self.confirm(place).await.is_some(), "somebody has ended it");
        let store = place.stores.session_store().unwrap();
        for id in [&self.old, &self.new] {
            let found = store.load(&service(), id).await.unwrap().map(|found| (found.id, found.version));
            assert_eq!(found, Some((self.new.clone(), 2)));
        }
        assert!(listed(&*store).await.contains(&self.new));
    }
}

async fn create(store: &dyn SessionStore, session: NewSession) -> Vec<SessionId> {
    match store.create(&service(), session).await.unwrap() {
        CreateOutcome::Created { evicted, .. } => evicted,
        other => panic!("{other:?}"),
    }
}

async fn listed(store: &dyn SessionStore) -> Vec<SessionId> {
    store.list(&service(), "u1").await.unwrap().into_iter().map(|session| session.id).collect()
}

/// Whoever lists or logs in clears it away at no step, and counts it once at each.
pub(crate) async fn a_session_that_is_being_rotated_is_left_alone_and_counted_once(mut place: Place) {
    let store = place.stores.session_store().unwrap();
    let rotating = Rotating::begin(&mut place).await;
    assert_eq!(listed(&*store).await, std::slice::from_ref(&rotating.old));
    let second = session_id("u1");
    create(&*store, new_session(&second, SessionLimit::Reject(2))).await;
    let refused = new_session(&session_id("u1"), SessionLimit::Reject(2));
    assert_eq!(store.create(&service(), refused).await.unwrap(), CreateOutcome::LimitReached);
    rotating.supersede(&mut place).await;
    // It is neither here nor there, and who does not confirm it may have died.
    assert_eq!(listed(&*store).await, std::slice::from_ref(&second));
    let refused = new_session(&session_id("u1"), SessionLimit::Reject(2));
    assert_eq!(store.create(&service(), refused).await.unwrap(), CreateOutcome::LimitReached);
    let third = session_id("u1");
    create(&*store, new_session(&third, SessionLimit::Reject(3))).await;
    let left: u64 = place.run("PTTL", &[&index_key(&place)]).await;
    assert!(left > 600_000, "the index ends before its sessions, in {left} ms");
    rotating.is_whole(&mut place).await;
    assert_eq!(listed(&*store).await, [third, second, rotating.new]);
    place.assert_all_expire("a rotation").await;
}

/// The old id leads on for its grace, whoever finds it in the index: a rotation that was broken off has left it there.
pub(crate) async fn a_pointer_in_the_index_leads_on(mut place: Place) {
    let store = place.stores.session_store().unwrap();
    for who in ["list", "create", "destroy_all", "a step"] {
        let rotating = Rotating::begin(&mut place).await;
        rotating.supersede(&mut place).await;
        assert!(rotating.confirm(&mut place).await.is_some());
        match who {
            "list" => assert_eq!(listed(&*store).await, std::slice::from_ref(&rotating.new)),
            "create" => drop(create(&*store, new_session(&session_id("u1"), SessionLimit::Reject(9))).await),
            "destroy_all" => {
                let ended = store.destroy_all(&service(), "u1", Some(&rotating.new)).await.unwrap();
                assert_eq!(ended, []);
            }
            _ => {
                let key = session_key(&place, &rotating.old);
                let ended: (u64, u64) = place.run("EVAL", &[END, "1", &key, BOUNDS, "", "evicted", ""]).await;
                assert_eq!(ended.0, 0);
            }
        }
        let found = store.load(&service(), &rotating.old).await.unwrap().map(|found| found.id);
        assert_eq!(found.as_ref(), Some(&rotating.new), "after {who}");
        if who != "a step" {
            let members: Vec<String> = place.run("ZRANGE", &[&index_key(&place), "0", "-1"]).await;
            assert!(!members.contains(&rotating.old.hash_text()), "after {who}");
        }
        let left: u64 = place.run("PTTL", &[&session_key(&place, &rotating.old)]).await;
        assert!(left <= 60_000, "{left} ms");
        store.destroy_all(&service(), "u1", None).await.unwrap();
    }
}

/// Requests with the old token, and with the new id that others were answered, are neither answered that the session is gone nor
/// what it was: they ask again until it is there.
pub(crate) async fn requests_between_two_steps_ask_again(mut place: Place) {
    const PENDING: Duration = Duration::from_millis(100);
    let store = place.stores.session_store().unwrap();
    let again = |id: &SessionId| {
        Rotation::to(session_id("u1"))
            .grace(Duration::from_mins(1))
            .patch(Patch::new().set("by", id.to_string()))
    };
    for what in ["load", "use", "touch", "patch", "rotate", "replace", "destroy"] {
        let rotating = Rotating::begin(&mut place).await;
        rotating.supersede(&mut place).await;
        let (store, old, new) =
            (place.stores.session_store().unwrap(), rotating.old.clone(), rotating.new.clone());
        let rotation = again(&old);
        let mut asking = Box::pin(async move {
            let service = service();
            match what {
                "load" => store.load(&service, &old).await.unwrap().is_some(),
                "use" => store.use_session(&service, &old).await.unwrap().is_some(),
                "touch" => store.touch(&service, &old).await.unwrap() != TouchOutcome::Gone,
                "patch" => {
                    let patch = Patch::new().set("b", "1");
                    assert_eq!(
                        store.patch(&service, &old, &patch).await.unwrap(),
                        PatchOutcome::Moved { to: new.clone() }
                    );
                    store.patch(&service, &new, &patch).await.unwrap() == PatchOutcome::Saved { version: 3 }
                }
                "rotate" => {
                    let rotated = store.rotate(&service, "u1", &new, &rotation).await.unwrap();
                    matches!(rotated, RotateOutcome::Rotated { .. })
                }
                "replace" => {
                    let by = new_session(&session_id("u1"), SessionLimit::Reject(9));
                    let outcome = store.create(&service, by.replacing(Predecessor::new(old, 1))).await;
                    outcome.unwrap() == CreateOutcome::Conflict { version: 2 }
                }
                _ => store.destroy(&service, &old).await.unwrap().is_some_and(|ended| ended.id == new),
            }
        });
        let early = tokio::time::timeout(PENDING, &mut asking).await;
        assert!(early.is_err(), "{what} was answered at once: {early:?}");
        assert!(rotating.confirm(&mut place).await.is_some(), "{what}");
        assert!(asking.await, "{what}");
    }
    store.destroy_all(&service(), "u1", None).await.unwrap();
}

/// Who ends all sessions ends it too, at each step, and answers the id that it has by then.
pub(crate) async fn the_end_of_all_ends_what_is_being_rotated(mut place: Place) {
    let store = place.stores.session_store().unwrap();
    for superseded in [false, true] {
        let rotating = Rotating::begin(&mut place).await;
        if superseded {
            rotating.supersede(&mut place).await;
        }
        let ended = store.destroy_all(&service(), "u1", None).await.unwrap();
        assert_eq!(ended, [if superseded { &rotating.new } else { &rotating.old }.clone()]);
        assert_eq!(rotating.confirm(&mut place).await, None);
        assert_eq!(listed(&*store).await, []);
        // The one that is kept is kept under whichever id.
        let rotating = Rotating::begin(&mut place).await;
        if superseded {
            rotating.supersede(&mut place).await;
        }
        assert_eq!(store.destroy_all(&service(), "u1", Some(&rotating.old)).await.unwrap(), []);
        if !superseded {
            rotating.supersede(&mut place).await;
        }
        rotating.is_whole(&mut place).await;
        store.destroy_all(&service(), "u1", None).await.unwrap();
    }
    // It makes room like any other.
    for superseded in [false, true] {
        let rotating = Rotating::begin(&mut place).await;
        if superseded {
            rotating.supersede(&mut place).await;
        }
        let evicted = create(&*store, new_session(&session_id("u1"), SessionLimit::EvictOldest(1))).await;
        assert_eq!(evicted, [if superseded { &rotating.new } else { &rotating.old }.clone()]);
        assert_eq!(rotating.confirm(&mut place).await, None);
        assert_eq!(listed(&*store).await.len(), 1);
        store.destroy_all(&service(), "u1", None).await.unwrap();
    }
}

/// What is over by the time it would be confirmed is gone.
pub(crate) async fn nothing_is_confirmed_at_its_deadline(mut place: Place) {
    let rotating = Rotating::begin(&mut place).await;
    rotating.supersede(&mut place).await;
    let (now, micros): (u64, u64) = place.run("TIME", &[]).await;
    let deadline = (now * 1_000_000 + micros).to_string();
    assert_eq!(rotating.confirm_until(&mut place, &deadline).await, None);
    let store = place.stores.session_store().unwrap();
    assert_eq!(store.load(&service(), &rotating.old).await.unwrap(), None);
    assert!(!place.keys().await.contains(&session_key(&place, &rotating.new)));
}
