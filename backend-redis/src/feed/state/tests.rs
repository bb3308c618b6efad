//! What watchers are told.

use redis::IntoConnectionInfo;
use std::sync::Mutex;

use super::*;

#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn told(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Watcher for Log {
    fn changed(&self, key: &str) {
        self.0.lock().unwrap().push(key.to_owned());
    }

    fn lost(&self) {
        self.0.lock().unwrap().push("lost".to_owned());
    }

    fn restored(&self) {
        self.0.lock().unwrap().push("restored".to_owned());
    }
}

fn target(label: &str) -> Target {
    Target::any(label, |_| "redis://localhost".into_connection_info().unwrap())
}

fn set(names: &[&str]) -> HashSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

/// The seat of a master, also if nobody wants to hear of it.
fn seat(state: &State, label: &str) -> Seat {
    let (label, master) = state.masters.get_key_value(label).unwrap();
    Seat { label: Arc::clone(label), number: master.number }
}

fn connect(state: &mut State, label: &str, connection: u64, names: &[&str]) {
    let seat = seat(state, label);
    state.coming(&seat, connection, set(names));
    state.ready(&seat, connection);
}

#[test]
fn a_namespace_is_up_while_every_master_tells_of_it() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    let _ = state.masters_are(&[target("a"), target("b")]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.told(), [] as [&str; 0], "one of two is not enough");
    connect(&mut state, "b", 2, &[]);
    let (a, b) = (seat(&state, "a"), seat(&state, "b"));
    state.heard(&b, 1, set(&["cache:user"]));
    assert_eq!(log.told(), [] as [&str; 0], "what an earlier connection heard counts for nothing");
    state.heard(&b, 2, set(&["cache:user"]));
    state.changed("cache:user", "cache:user:1");
    state.changed("cache:other", "cache:other:1");
    assert_eq!(log.told(), ["restored", "cache:user:1"]);

    state.lost(&a, 9);
    assert_eq!(log.told(), [] as [&str; 0], "it is another connection that broke");
    state.lost(&a, 1);
    state.lost(&b, 2);
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.told(), ["lost"]);
    connect(&mut state, "b", 3, &["cache:user"]);
    connect(&mut state, "a", 4, &["cache:user"]);
    assert_eq!(log.told(), ["restored"]);
    state.flushed();
    assert_eq!(log.told(), ["lost", "restored"]);
}

#[test]
fn a_change_of_masters_is_a_loss() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    let _ = state.masters_are(&[target("a")]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    assert_eq!(log.told(), ["restored"]);
    let _ = state.masters_are(&[target("a")]);
    assert_eq!(log.told(), [] as [&str; 0]);
    let _ = state.masters_are(&[target("a"), target("b")]);
    assert_eq!(log.told(), ["lost"]);
    connect(&mut state, "b", 2, &["cache:user"]);
    assert_eq!(log.told(), ["restored"]);
    let _ = state.masters_are(&[target("b")]);
    assert_eq!(log.told(), ["lost", "restored"], "what was copied from it is heard of no more");
}

#[test]
fn a_second_watcher_is_told_at_once_and_one_that_ended_nothing() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    let _ = state.masters_are(&[target("a")]);
    let first = state.watch("cache:user", Arc::new(Log::default())).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    let second = state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    assert_eq!(log.told(), ["restored"]);
    assert!(state.end("cache:user", first).is_some());
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.told(), ["cache:user:1"]);
    assert!(state.end("cache:user", second).is_some() && state.end("cache:user", second).is_none());
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.told(), [] as [&str; 0]);
    // The server tells of it still.
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    assert_eq!(log.told(), ["restored"]);
    let _ = state.close();
    assert_eq!(log.told(), ["lost"]);
    assert!(state.watch("cache:user", Arc::clone(&log) as _).is_none());
}

#[test]
fn a_refusal_lasts_until_the_server_is_asked_again() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    let _ = state.masters_are(&[target("a")]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    assert!(state.refuse().is_some() && state.refuse().is_none());
    connect(&mut state, "a", 2, &["cache:user"]);
    assert_eq!(log.told(), ["restored", "lost"]);
    assert!(state.wanted().is_empty() && state.wanted_masters().is_empty());
    state.try_again();
    assert_eq!((state.wanted(), state.wanted_masters().len()), (set(&["cache:user"]), 1));
    connect(&mut state, "a", 3, &["cache:user"]);
    assert_eq!(log.told(), ["restored"]);
}

#[test]
fn nobody_speaks_for_a_master_that_left_and_came_back() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    let _ = state.masters_are(&[target("a"), target("b")]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "b", 1, &["cache:user"]);
    let before = seat(&state, "a");
    let _ = state.masters_are(&[target("b")]);
    let _ = state.masters_are(&[target("a"), target("b")]);
    assert_eq!(log.told(), ["restored", "lost"]);
    let now = seat(&state, "a");
    // Both are being connected, the earlier one for nothing.
    state.coming(&now, 3, set(&["cache:user"]));
    state.coming(&before, 2, set(&["cache:user"]));
    state.ready(&before, 2);
    assert_eq!(log.told(), [] as [&str; 0]);
    state.ready(&now, 3);
    assert_eq!(log.told(), ["restored"]);
    state.lost(&before, 2);
    assert_eq!(log.told(), [] as [&str; 0]);
    assert!(state.turn(&before).is_none() && state.unconnected(&before).is_none());
    assert!(state.turn(&now).is_some() && state.unconnected(&now).is_some());
}
