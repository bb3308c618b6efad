//! What every engine is held to.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Barrier, Weak};
use std::time::Duration;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use stanchion::cache::{NearEngine, NearEntry, NearValue};
use stanchion::time::Monotonic;

/// The bound of an engine that is bounded by bytes, in these tests.
pub(super) const BYTES: u64 = 1 << 20;

#[derive(Debug, PartialEq)]
struct Value {
    key: String,
    version: u64,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "as the bound asks for it")]
pub(super) fn heap_bytes(value: &u64) -> usize {
    usize::try_from(*value).unwrap_or(usize::MAX)
}

fn entry_of(value: NearValue) -> NearEntry {
    let end = Monotonic::from_origin(Duration::from_secs(1));
    NearEntry::new(Some(value), end)
}

fn entry(key: &str, version: u64) -> NearEntry {
    entry_of(Arc::new(Value { key: key.to_owned(), version }))
}

/// The version of the entry that is answered, which must be the key's own.
fn read(engine: &impl NearEngine, key: &str) -> Option<u64> {
    let entry = engine.get(key)?;
    let value = entry.value.as_deref().and_then(|value| value.downcast_ref::<Value>()).expect("a value");
    assert_eq!(value.key, key, "another key's entry was answered");
    Some(value.version)
}

/// All of it, for engines of any number of entries. `settle` does what the engine has put off.
pub(super) fn holds<E: NearEngine>(engine: impl Fn(u64) -> E, settle: impl Fn(&E)) {
    what_is_put_in_is_there_until_it_goes(&engine(1_000));
    nothing_is_answered_but_what_a_map_would_answer(&engine);
    what_was_removed_is_never_answered(&engine(64));
    the_number_of_entries_is_bounded(&engine(1_000), &settle);
    clearing_frees_the_memory(&engine(10_000), &settle);
    debug_shows_no_key(&engine(10));
    for tiny in [0, 1, u64::MAX] {
        let engine = engine(tiny);
        engine.insert("k", entry("k", 1));
        settle(&engine);
        let kept = read(&engine, "k").is_some();
        assert!(kept || tiny < 2, "a bound of {tiny} keeps nothing");
    }
}

fn what_is_put_in_is_there_until_it_goes(engine: &impl NearEngine) {
    assert!(engine.is_empty());
    for n in 0..100 {
        engine.insert(&format!("k{n}"), entry(&format!("k{n}"), n));
    }
    assert!((0..100).all(|n| read(engine, &format!("k{n}")) == Some(n)));
    engine.insert("k7", entry("k7", 700));
    engine.remove("k8");
    engine.remove("never was");
    assert_eq!((read(engine, "k7"), read(engine, "k8"), read(engine, "k")), (Some(700), None, None));
    let end = Monotonic::from_origin(Duration::from_secs(2));
    engine.insert("none", NearEntry::new(None, end));
    let none = engine.get("none").expect("the knowledge that there is nothing");
    assert!(none.value.is_none() && none.fresh_until == end);
    engine.clear();
    assert!((0..100).all(|n| read(engine, &format!("k{n}")).is_none()));
}

#[derive(Debug, Clone)]
enum Step {
    Get(u8),
    Insert(u8),
    Remove(u8),
    Clear,
}

/// An engine forgets what it likes, but what it answers is what a map would.
fn nothing_is_answered_but_what_a_map_would_answer<E: NearEngine>(engine: impl Fn(u64) -> E) {
    let step = prop_oneof![
        8 => (0..40_u8).prop_map(Step::Get),
        8 => (0..40_u8).prop_map(Step::Insert),
        4 => (0..40_u8).prop_map(Step::Remove),
        1 => Just(Step::Clear),
    ];
    let runs = (1..60_u64, prop::collection::vec(step, 1..200));
    let config = Config { cases: 64, failure_persistence: None, ..Config::default() };
    let outcome = TestRunner::new(config).run(&runs, |(limit, steps)| {
        let (engine, mut model) = (engine(limit), std::collections::HashMap::new());
        for (version, step) in (0..).zip(steps) {
            match step {
                Step::Get(key) => {
                    let found = read(&engine, &key.to_string());
                    prop_assert!(found.is_none() || found == model.get(&key).copied());
                }
                Step::Insert(key) => {
                    engine.insert(&key.to_string(), entry(&key.to_string(), version));
                    model.insert(key, version);
                }
                Step::Remove(key) => {
                    engine.remove(&key.to_string());
                    model.remove(&key);
                }
                Step::Clear => {
                    engine.clear();
                    model.clear();
                }
            }
        }
        Ok(())
    });
    outcome.unwrap();
}

/// One thread puts in and removes; the others, once they know that a version was removed, must not see it or an older one.
fn what_was_removed_is_never_answered(engine: &impl NearEngine) {
    let removed: Vec<AtomicU64> = (0..8).map(|_| AtomicU64::new(0)).collect();
    let (keys, done) = ((0..8).map(|n| format!("k{n}")).collect::<Vec<_>>(), AtomicBool::new(false));
    // Nothing is written before the readers are there.
    let start = Barrier::new(3);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                start.wait();
                while !done.load(Ordering::Relaxed) {
                    for (key, removed) in keys.iter().zip(&removed) {
                        let floor = removed.load(Ordering::Acquire);
                        let found = read(engine, key);
                        assert!(
                            found.is_none_or(|version| version > floor),
                            "{found:?} was answered after {floor} was removed"
                        );
                    }
                }
            });
        }
        start.wait();
        for version in 1..=2_000 {
            for (key, removed) in keys.iter().zip(&removed) {
                engine.insert(key, entry(key, version));
                engine.remove(key);
                removed.store(version, Ordering::Release);
            }
        }
        done.store(true, Ordering::Relaxed);
    });
}

fn the_number_of_entries_is_bounded<E: NearEngine>(engine: &E, settle: impl Fn(&E)) {
    let keys: Vec<_> = (0..20_000).map(|n| format!("k{n}")).collect();
    for key in &keys {
        engine.insert(key, entry(key, 1));
    }
    settle(engine);
    let readable = keys.iter().filter(|key| read(engine, key).is_some()).count();
    assert!((500..=1_010).contains(&readable), "{readable} entries under a bound of 1,000");
    assert!((500..=1_010).contains(&engine.len()), "{} entries are reported", engine.len());
}

fn clearing_frees_the_memory<E: NearEngine>(engine: &E, settle: impl Fn(&E)) {
    let values: Vec<Weak<Value>> = (0..5_000)
        .map(|n| {
            let key = format!("k{n}");
            let value = Arc::new(Value { key: key.clone(), version: n });
            let weak = Arc::downgrade(&value);
            engine.insert(&key, entry_of(value));
            weak
        })
        .collect();
    settle(engine);
    assert_eq!(values.iter().filter(|value| value.strong_count() > 0).count(), 5_000);
    engine.clear();
    assert_eq!(engine.len(), 0);
    // An engine may free in arrears, when threads that might read an entry have moved on.
    for _ in 0..1_000 {
        engine.insert("other", entry("other", 1));
        engine.remove("other");
        settle(engine);
    }
    let alive = values.iter().filter(|value| value.strong_count() > 0).count();
    assert_eq!(alive, 0, "{alive} of 5,000 values are still in memory");
}

fn debug_shows_no_key(engine: &impl NearEngine) {
    engine.insert("ada@example.org", entry("ada@example.org", 1));
    let shown = format!("{engine:?}");
    assert!(!shown.contains("ada") && shown.contains("10 entries"), "{shown}");
}

/// Entries of 10,000 bytes on the heap, in an engine whose bound is [`BYTES`].
pub(super) fn bounds_bytes<E: NearEngine>(engine: &E, settle: impl Fn(&E)) {
    let keys: Vec<_> = (0..1_000).map(|n| format!("k{n}")).collect();
    for key in &keys {
        engine.insert(key, entry_of(Arc::new(10_000_u64)));
    }
    settle(engine);
    let readable = keys.iter().filter(|key| engine.get(key).is_some()).count();
    assert!((60..=102).contains(&readable), "{readable} entries of 10,000 bytes in 1 MiB");
    // One that is larger than the bound is not kept, and neither is what it was to replace.
    engine.insert("k", entry_of(Arc::new(1_u64)));
    engine.insert("k", entry_of(Arc::new(2 * BYTES)));
    settle(engine);
    assert!(engine.get("k").is_none());
    // A value of another type counts by its own size.
    engine.insert("other type", entry_of(Arc::new([0_u8; 4_096])));
    settle(engine);
    assert!(engine.get("other type").is_some());
}

/// How many of 100 fresh entries are there at once, in a full engine of 1,000 whose entries were all read ten times.
pub(super) fn fresh_kept<E: NearEngine>(engine: &E, settle: impl Fn(&E)) -> usize {
    let hot: Vec<_> = (0..1_000).map(|n| format!("hot{n}")).collect();
    for key in &hot {
        engine.insert(key, entry(key, 1));
    }
    for _ in 0..10 {
        for key in &hot {
            read(engine, key);
            settle(engine);
        }
    }
    let fresh: Vec<_> = (0..100).map(|n| format!("fresh{n}")).collect();
    fresh
        .iter()
        .filter(|key| {
            engine.insert(key, entry(key, 1));
            settle(engine);
            read(engine, key).is_some()
        })
        .count()
}
