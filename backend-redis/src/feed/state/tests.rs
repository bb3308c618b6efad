//! What watchers are notified of.

use redis::IntoConnectionInfo;
use std::sync::Mutex;

use super::*;

#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn take(&self) -> Vec<String> {
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

/// The id of a master, also if nothing is watched.
fn id(state: &State, label: &str) -> MasterId {
    let (label, master) = state.masters.get_key_value(label).unwrap();
    MasterId { label: Arc::clone(label), number: master.number }
}

fn connect(state: &mut State, label: &str, connection: u64, names: &[&str]) {
    let id = id(state, label);
    state.preparing(&id, connection, set(names));
    state.ready(&id, connection);
}

#[test]
fn a_namespace_is_up_while_every_master_sends_its_invalidations() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    let _ = state.set_masters(&[target("a"), target("b")]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.take(), [] as [&str; 0], "one of two is not enough");
    connect(&mut state, "b", 2, &[]);
    let (a, b) = (id(&state, "a"), id(&state, "b"));
    state.subscribed(&b, 1, set(&["cache:user"]));
    assert_eq!(log.take(), [] as [&str; 0], "an earlier connection does not matter");
    state.subscribed(&b, 2, set(&["cache:user"]));
    state.changed("cache:user", "cache:user:1");
    state.changed("cache:other", "cache:other:1");
    assert_eq!(log.take(), ["restored", "cache:user:1"]);

    state.lost(&a, 9);
    assert_eq!(log.take(), [] as [&str; 0], "it is another connection that broke");
    state.lost(&a, 1);
    state.lost(&b, 2);
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.take(), ["lost"]);
    connect(&mut state, "b", 3, &["cache:user"]);
    connect(&mut state, "a", 4, &["cache:user"]);
    assert_eq!(log.take(), ["restored"]);
    state.flushed();
    assert_eq!(log.take(), ["lost", "restored"]);
}

#[test]
fn a_change_of_masters_is_a_loss() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    let _ = state.set_masters(&[target("a")]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    assert_eq!(log.take(), ["restored"]);
    let _ = state.set_masters(&[target("a")]);
    assert_eq!(log.take(), [] as [&str; 0]);
    let _ = state.set_masters(&[target("a"), target("b")]);
    assert_eq!(log.take(), ["lost"]);
    connect(&mut state, "b", 2, &["cache:user"]);
    assert_eq!(log.take(), ["restored"]);
    let _ = state.set_masters(&[target("b")]);
    assert_eq!(log.take(), ["lost", "restored"], "of what was copied from it no more invalidations come");
}

#[test]
fn a_second_watcher_is_notified_at_once_and_one_that_ended_not_at_all() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    let _ = state.set_masters(&[target("a")]);
    let first = state.watch("cache:user", Arc::new(Log::default())).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    let second = state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    assert_eq!(log.take(), ["restored"]);
    assert!(state.end("cache:user", first).is_some());
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.take(), ["cache:user:1"]);
    assert!(state.end("cache:user", second).is_some() && state.end("cache:user", second).is_none());
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.take(), [] as [&str; 0]);
    // The server still sends its invalidations.
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    assert_eq!(log.take(), ["restored"]);
    let _ = state.close();
    assert_eq!(log.take(), ["lost"]);
    assert!(state.watch("cache:user", Arc::clone(&log) as _).is_none());
}

#[test]
fn a_refusal_lasts_until_the_server_is_asked_again() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    let _ = state.set_masters(&[target("a")]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    assert!(state.refuse().is_some() && state.refuse().is_none());
    connect(&mut state, "a", 2, &["cache:user"]);
    assert_eq!(log.take(), ["restored", "lost"]);
    assert!(state.wanted().is_empty() && state.wanted_masters().is_empty());
    state.try_again();
    assert_eq!((state.wanted(), state.wanted_masters().len()), (set(&["cache:user"]), 1));
    connect(&mut state, "a", 3, &["cache:user"]);
    assert_eq!(log.take(), ["restored"]);
}

#[test]
fn reports_of_a_master_that_left_and_came_back_are_passed_over() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    let _ = state.set_masters(&[target("a"), target("b")]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "b", 1, &["cache:user"]);
    let before = id(&state, "a");
    let _ = state.set_masters(&[target("b")]);
    let _ = state.set_masters(&[target("a"), target("b")]);
    assert_eq!(log.take(), ["restored", "lost"]);
    let now = id(&state, "a");
    // Both are being connected, the earlier one for nothing.
    state.preparing(&now, 3, set(&["cache:user"]));
    state.preparing(&before, 2, set(&["cache:user"]));
    state.ready(&before, 2);
    assert_eq!(log.take(), [] as [&str; 0]);
    state.ready(&now, 3);
    assert_eq!(log.take(), ["restored"]);
    state.lost(&before, 2);
    assert_eq!(log.take(), [] as [&str; 0]);
    assert!(state.requesting(&before).is_none() && state.unconnected(&before).is_none());
    assert!(state.requesting(&now).is_some() && state.unconnected(&now).is_some());
}

#[test]
fn another_server_at_the_address_of_a_master_is_another_master() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    let _ = state.set_masters(&[target("a")]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    let (first, second) = ("first".into(), "second".into());
    let _ = state.set_masters(&[target("a").of_server(&first)]);
    assert_eq!(log.take(), ["restored"], "which server it is was not known");
    let before = id(&state, "a");
    let _ = state.set_masters(&[target("a").of_server(&second)]);
    assert_eq!(log.take(), ["lost", "restored", "lost"], "its connection is to the one before");
    state.ready(&before, 1);
    assert_eq!(log.take(), [] as [&str; 0]);
    connect(&mut state, "a", 2, &["cache:user"]);
    assert_eq!(log.take(), ["restored"]);
}
