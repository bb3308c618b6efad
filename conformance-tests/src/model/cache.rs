//! Cached values and counters.

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use stanchion::Result;
use stanchion::cache::{CacheStore, SetEntry, SetOptions, SetOutcome, When};
use stanchion::key::Key;

use super::Answer;
use super::step::Hours;
use stanchion::cache::AllParts as _;

/// An operation of a [`CacheStore`]; keys and values by what they say.
#[derive(Debug, Clone)]
pub enum Operation {
    Get(&'static str),
    GetMany(Vec<&'static str>),
    Set { key: &'static str, value: &'static [u8], ttl: Hours, when: Condition },
    SetMany { entries: Vec<(&'static str, &'static [u8])>, ttl: Hours },
    RemoveMany(Vec<&'static str>),
    Add { key: &'static str, delta: i64, ttl: Hours },
    Touch { key: &'static str, ttl: Hours },
    Ttl(&'static str),
}

/// A condition of setting.
#[derive(Debug, Clone, Copy)]
pub enum Condition {
    Always,
    Absent,
    Present,
    Equals(&'static [u8]),
}

const KEYS: &[&str] = &["a", "b", "c", "{a}:b"];
/// Numbers, what is none to some readers of numbers, and no text at all.
const VALUES: &[&[u8]] = &[
    b"",
    b"x",
    b"0",
    b"1",
    b"-5",
    b"-0",
    b"+1",
    b"01",
    b" 1",
    b"1 ",
    b"1.0",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775808",
    b"\xFF\x00\r\n",
];
const DELTAS: &[i64] = &[0, 1, -1, 5, i64::MAX, i64::MIN];

/// Operations of a store with or without counters.
pub(super) fn operation(counters: bool) -> impl Strategy<Value = Operation> + Clone {
    let key = || select(KEYS);
    let value = || select(VALUES);
    let keys = || prop::collection::vec(key(), 0..5);
    let when = prop_oneof![
        2 => Just(Condition::Always),
        1 => Just(Condition::Absent),
        1 => Just(Condition::Present),
        1 => value().prop_map(Condition::Equals),
    ];
    prop_oneof![
        2 => key().prop_map(Operation::Get),
        1 => keys().prop_map(Operation::GetMany),
        4 => (key(), value(), Hours::any(), when)
            .prop_map(|(key, value, ttl, when)| Operation::Set { key, value, ttl, when }),
        1 => (prop::collection::vec((key(), value()), 0..5), Hours::any())
            .prop_map(|(entries, ttl)| Operation::SetMany { entries, ttl }),
        1 => keys().prop_map(Operation::RemoveMany),
        u32::from(counters) * 4 => (key(), select(DELTAS), Hours::any())
            .prop_map(|(key, delta, ttl)| Operation::Add { key, delta, ttl }),
        1 => (key(), Hours::any()).prop_map(|(key, ttl)| Operation::Touch { key, ttl }),
        2 => key().prop_map(Operation::Ttl),
    ]
}

fn key(id: &str) -> Result<Key> {
    Key::new("cache", "model", id)
}

fn keys(ids: &[&str]) -> Result<Vec<Key>> {
    ids.iter().map(|id| key(id)).collect()
}

pub(super) async fn run(operation: &Operation, cache: &dyn CacheStore) -> Result<Answer> {
    Ok(match operation {
        Operation::Get(id) => Answer::Value(cache.get(&key(id)?).await?),
        Operation::GetMany(ids) => Answer::Values(cache.get_many(&keys(ids)?).await?),
        Operation::Set { key: id, value, ttl, when } => {
            let when = match when {
                Condition::Always => When::Always,
                Condition::Absent => When::Absent,
                Condition::Present => When::Present,
                Condition::Equals(expected) => When::Equals(Bytes::from_static(expected)),
            };
            let options = SetOptions::new(ttl.ttl()).when(when);
            let stored = cache.set(&key(id)?, Bytes::from_static(value), &options).await?;
            Answer::Truth(stored == SetOutcome::Stored)
        }
        Operation::SetMany { entries, ttl } => {
            let entry = |id: &str, value| {
                Ok(SetEntry::new(key(id)?, Bytes::from_static(value), SetOptions::new(ttl.ttl())))
            };
            let entries = entries.iter().map(|(id, value)| entry(id, value));
            cache.set_many(&entries.collect::<Result<Vec<_>>>()?).await?;
            Answer::Done
        }
        Operation::RemoveMany(ids) => Answer::Count(cache.remove_many(&keys(ids)?).await?),
        Operation::Add { key: id, delta, ttl } => Answer::Sum(cache.add(&key(id)?, *delta, ttl.ttl()).await?),
        Operation::Touch { key: id, ttl } => Answer::Truth(cache.touch(&key(id)?, ttl.ttl()).await?),
        Operation::Ttl(id) => Answer::Life(cache.ttl(&key(id)?).await?.map(|ttl| ttl.as_duration().into())),
    })
}
