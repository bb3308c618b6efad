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

    fn lost(&self, shard: Shard) {
        self.0.lock().unwrap().push(format!("lost {}", shard.number()));
    }

    fn restored(&self, shard: Shard) {
        self.0.lock().unwrap().push(format!("restored {}", shard.number()));
    }
}

/// The shard of a master: a is 1, b is 2. Of c and d both are 3.
fn shard(label: &str) -> Shard {
    Shard::new((label.as_bytes()[0] - b'a' + 1).min(3))
}

/// These are the masters from now on, and slots have left these of those before.
fn masters(state: &mut State, labels: &[&str], left: &[&str]) {
    let all: Vec<_> = labels.iter().map(|label| (target(label), shard(label))).collect();
    let left = left.iter().map(|label| shard(label)).collect();
    let _ = state.set_masters(&Masters { all: &all, left: &left, copies: &Vec::new() });
}

/// The master a is this server from now on, and there is no other.
fn only(state: &mut State, server: Target) {
    let all = [(server, shard("a"))];
    let _ = state.set_masters(&Masters { all: &all, left: &HashSet::new(), copies: &Vec::new() });
}

/// The same, with the copies of every generation at these.
fn masters_with_copies(state: &mut State, labels: &[&str], copies: [&str; 3]) {
    let all: Vec<_> = labels.iter().map(|label| (target(label), shard(label))).collect();
    let copies = Group::all().map(|_| copies.map(shard)).collect();
    let _ = state.set_masters(&Masters { all: &all, left: &HashSet::new(), copies: &copies });
}

/// One group of many, of which all have the same fate here.
fn group() -> Group {
    Group::all().next().unwrap()
}

/// What was notified of that group since the last time.
fn of_group(log: &Log) -> Vec<String> {
    let number = group().shard().number().to_string();
    log.take()
        .into_iter()
        .filter(|one| one.ends_with(&format!(" {number}")))
        .map(|one| one.replace(&number, "g"))
        .collect()
}

/// Three masters with a copy each, all of which send invalidations.
fn three_copies() -> (State, Arc<Log>) {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    masters_with_copies(&mut state, &["a", "b", "c"], ["a", "b", "c"]);
    state.watch("tags:tag", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["tags:tag"]);
    assert_eq!(of_group(&log), [] as [&str; 0], "one of three");
    connect(&mut state, "b", 2, &["tags:tag"]);
    assert_eq!(of_group(&log), ["restored g"]);
    let (b, c) = (id(&state, "b"), id(&state, "c"));
    state.lost(&b, 2);
    assert_eq!(of_group(&log), ["lost g"]);
    connect(&mut state, "c", 3, &["tags:tag"]);
    connect(&mut state, "b", 4, &["tags:tag"]);
    assert_eq!(of_group(&log), ["restored g"]);
    // With two of them it began; all begin anew when it is lost.
    state.lost(&c, 3);
    connect(&mut state, "c", 5, &["tags:tag"]);
    assert_eq!(of_group(&log), ["lost g", "restored g"]);
    assert_eq!(state.covered("tags:tag", group()), [true, true, false]);
    let a = id(&state, "a");
    state.lost(&a, 1);
    connect(&mut state, "a", 6, &["tags:tag"]);
    assert_eq!(of_group(&log), ["lost g", "restored g"]);
    (state, log)
}

#[test]
fn generations_are_up_while_two_of_three_copies_are() {
    let (mut state, log) = three_copies();
    assert_eq!(state.covered("tags:tag", group()), [false, true, true]);
    let late = Arc::new(Log::default());
    state.watch("tags:tag", Arc::clone(&late) as _).unwrap();
    assert_eq!(late.take().len(), Group::all().count(), "each group is restored");
    // Values beside them go by their masters.
    let values = Arc::new(Log::default());
    state.watch("cache:user", Arc::clone(&values) as _).unwrap();
    connect(&mut state, "a", 7, &["tags:tag", "cache:user"]);
    assert_eq!(values.take(), ["restored 1"]);
    assert_eq!(of_group(&log), [] as [&str; 0], "it was not counted on");
    // Of all, now that one more was lost.
    let b = id(&state, "b");
    state.lost(&b, 4);
    assert_eq!(
        of_group(&log),
        ["lost g", "restored g"],
        "a bump may have been heard of by neither that is left"
    );
    assert_eq!(state.covered("tags:tag", group()), [true, false, true]);
    state.flushed(&id(&state, "a"));
    assert_eq!(of_group(&log), ["lost g", "restored g"]);
    let c = id(&state, "c");
    state.lost(&c, 5);
    assert_eq!(of_group(&log), ["lost g"]);
    let _ = state.close();
    assert_eq!(of_group(&log), [] as [&str; 0]);
}

#[test]
fn one_of_three_copies_is_not_missed() {
    let (mut state, log) = three_copies();
    // All begin anew with three that are up.
    state.read_from("tags:tag", group(), [true, false, false]);
    assert_eq!(
        of_group(&log),
        ["lost g", "restored g"],
        "what was read of one that counts is kept by nobody"
    );
    assert_eq!(state.covered("tags:tag", group()), [true; 3]);
    state.read_from("tags:tag", group(), [true; 3]);
    let a = id(&state, "a");
    state.lost(&a, 6);
    connect(&mut state, "a", 7, &["tags:tag"]);
    assert_eq!(of_group(&log), [] as [&str; 0]);
    assert_eq!(state.covered("tags:tag", group()), [false, true, true]);
    // What was read without one of the two that are left can't be kept.
    state.read_from("tags:tag", group(), [true, true, false]);
    assert_eq!(of_group(&log), ["lost g", "restored g"]);
    // What was read of two relies on them alone.
    state.read_from("tags:tag", group(), [true, true, false]);
    assert_eq!((of_group(&log), state.covered("tags:tag", group())), (vec![], [true, true, false]));
}

#[test]
fn a_copy_that_has_moved_is_not_counted_on() {
    let (mut state, log) = three_copies();
    state.read_from("tags:tag", group(), [true, false, false]);
    assert_eq!(of_group(&log), ["lost g", "restored g"]);
    masters_with_copies(&mut state, &["a", "b", "c"], ["b", "b", "c"]);
    assert_eq!((of_group(&log), state.covered("tags:tag", group())), (vec![], [false, true, true]));
    masters_with_copies(&mut state, &["a", "b", "c"], ["b", "a", "c"]);
    assert_eq!(of_group(&log), ["lost g", "restored g"]);
    // With two of three at one master, that is the fate of all.
    masters_with_copies(&mut state, &["a", "b", "c"], ["b", "b", "c"]);
    let b = id(&state, "b");
    let _before = of_group(&log);
    state.lost(&b, 4);
    assert_eq!(of_group(&log), ["lost g"]);
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
fn a_shard_is_up_while_its_master_sends_the_invalidations_of_the_namespace() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    masters(&mut state, &["a", "b"], &[]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.take(), [] as [&str; 0], "nobody was asked yet");
    connect(&mut state, "a", 1, &["cache:user"]);
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.take(), ["restored 1", "cache:user:1"]);
    connect(&mut state, "b", 2, &[]);
    let (a, b) = (id(&state, "a"), id(&state, "b"));
    state.subscribed(&b, 1, set(&["cache:user"]));
    assert_eq!(log.take(), [] as [&str; 0], "an earlier connection does not matter");
    state.subscribed(&b, 2, set(&["cache:user"]));
    state.changed("cache:other", "cache:other:1");
    assert_eq!(log.take(), ["restored 2"]);

    state.lost(&a, 9);
    assert_eq!(log.take(), [] as [&str; 0], "it is another connection that broke");
    state.lost(&a, 1);
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.take(), ["lost 1", "cache:user:1"], "the other one goes on");
    state.lost(&b, 2);
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.take(), ["lost 2"]);
    connect(&mut state, "b", 3, &["cache:user"]);
    connect(&mut state, "a", 4, &["cache:user"]);
    assert_eq!(log.take(), ["restored 2", "restored 1"]);
    state.flushed(&b);
    assert_eq!(log.take(), ["lost 2", "restored 2"]);
}

#[test]
fn masters_that_share_a_number_are_up_together() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    masters(&mut state, &["c", "d"], &[]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "c", 1, &["cache:user"]);
    assert_eq!(log.take(), [] as [&str; 0]);
    connect(&mut state, "d", 2, &["cache:user"]);
    assert_eq!(log.take(), ["restored 3"]);
    // One of them leaves, and may change unheard.
    masters(&mut state, &["d"], &[]);
    assert_eq!(log.take(), ["lost 3", "restored 3"]);
}

#[test]
fn a_change_of_masters_concerns_those_that_it_is_about() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    masters(&mut state, &["a"], &[]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    assert_eq!(log.take(), ["restored 1"]);
    masters(&mut state, &["a"], &[]);
    masters(&mut state, &["a", "b"], &[]);
    assert_eq!(log.take(), [] as [&str; 0], "nothing was read from it yet");
    connect(&mut state, "b", 2, &["cache:user"]);
    assert_eq!(log.take(), ["restored 2"]);
    masters(&mut state, &["a", "b"], &["a"]);
    assert_eq!(log.take(), ["lost 1", "restored 1"], "what has moved changes elsewhere");
    masters(&mut state, &["b"], &[]);
    assert_eq!(log.take(), ["lost 1", "lost 1"], "of what was copied from it no more invalidations come");
    masters(&mut state, &["b"], &["a"]);
    assert_eq!(log.take(), ["lost 1"], "also of what is lost already: a generation may have moved");
}

#[test]
fn what_was_read_by_a_redirect_is_lost_with_either_shard() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    masters(&mut state, &["a", "b"], &[]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    state.redirected(shard("a"), shard("b"));
    assert_eq!(log.take(), ["restored 1", "lost 1", "restored 1"], "nobody hears of changes there");
    connect(&mut state, "b", 2, &["cache:user"]);
    state.redirected(shard("a"), shard("b"));
    assert_eq!(log.take(), ["restored 2"], "changes are heard of");
    let b = id(&state, "b");
    state.lost(&b, 2);
    assert_eq!(log.take(), ["lost 2", "lost 1", "restored 1"]);
    // Once the slot has moved for good, all that was read under the name of the first is gone.
    connect(&mut state, "b", 3, &["cache:user"]);
    masters(&mut state, &["a", "b"], &["a"]);
    assert_eq!(log.take(), ["restored 2", "lost 1", "restored 1"]);
    state.lost(&b, 3);
    assert_eq!(log.take(), ["lost 2"]);
}

#[test]
fn a_second_watcher_is_notified_at_once_and_one_that_ended_not_at_all() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    masters(&mut state, &["a"], &[]);
    let first = state.watch("cache:user", Arc::new(Log::default())).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    let second = state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    assert_eq!(log.take(), ["restored 1"]);
    assert!(state.end("cache:user", first).is_some());
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.take(), ["cache:user:1"]);
    assert!(state.end("cache:user", second).is_some() && state.end("cache:user", second).is_none());
    state.changed("cache:user", "cache:user:1");
    assert_eq!(log.take(), [] as [&str; 0]);
    // The server still sends its invalidations.
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    assert_eq!(log.take(), ["restored 1"]);
    let _ = state.close();
    assert_eq!(log.take(), ["lost 1"]);
    assert!(state.watch("cache:user", Arc::clone(&log) as _).is_none());
}

#[test]
fn a_refusal_lasts_until_the_server_is_asked_again() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    masters(&mut state, &["a"], &[]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    assert!(state.refuse().is_some() && state.refuse().is_none());
    connect(&mut state, "a", 2, &["cache:user"]);
    assert_eq!(log.take(), ["restored 1", "lost 1"]);
    assert!(state.wanted().is_empty() && state.wanted_masters().is_empty());
    state.try_again();
    assert_eq!((state.wanted(), state.wanted_masters().len()), (set(&["cache:user"]), 1));
    connect(&mut state, "a", 3, &["cache:user"]);
    assert_eq!(log.take(), ["restored 1"]);
}

#[test]
fn reports_of_a_master_that_left_and_came_back_are_passed_over() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    masters(&mut state, &["a", "b"], &[]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "b", 1, &["cache:user"]);
    let before = id(&state, "a");
    masters(&mut state, &["b"], &[]);
    masters(&mut state, &["a", "b"], &[]);
    assert_eq!(log.take(), ["restored 2", "lost 1"]);
    let now = id(&state, "a");
    // Both are being connected, the earlier one for nothing.
    state.preparing(&now, 3, set(&["cache:user"]));
    state.preparing(&before, 2, set(&["cache:user"]));
    state.ready(&before, 2);
    assert_eq!(log.take(), [] as [&str; 0]);
    state.ready(&now, 3);
    assert_eq!(log.take(), ["restored 1"]);
    state.lost(&before, 2);
    assert_eq!(log.take(), [] as [&str; 0]);
    assert!(state.requesting(&before).is_none() && state.unconnected(&before).is_none());
    assert!(state.requesting(&now).is_some() && state.unconnected(&now).is_some());
}

#[test]
fn another_server_at_the_address_of_a_master_is_another_master() {
    let (mut state, log) = (State::default(), Arc::new(Log::default()));
    masters(&mut state, &["a"], &[]);
    state.watch("cache:user", Arc::clone(&log) as _).unwrap();
    connect(&mut state, "a", 1, &["cache:user"]);
    let (first, second) = ("first".into(), "second".into());
    only(&mut state, target("a").of_server(&first));
    assert_eq!(log.take(), ["restored 1"], "which server it is was not known");
    let before = id(&state, "a");
    only(&mut state, target("a").of_server(&second));
    assert_eq!(
        log.take(),
        ["lost 1", "lost 1"],
        "its connection is to the one before, and what was read from that is over"
    );
    state.ready(&before, 1);
    assert_eq!(log.take(), [] as [&str; 0]);
    connect(&mut state, "a", 2, &["cache:user"]);
    assert_eq!(log.take(), ["restored 1"]);
}
