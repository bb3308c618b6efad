//! Caches that are wrong about values, lives and counters.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::{
    CacheCapabilities, CacheStore, Fetched, Fill, FillOutcome, Generation, LeaseRequest, LeaseToken,
    SetEntry, SetOptions, SetOutcome, Tag, Watch, Watcher, When, schema_of,
};
use stanchion::key::{Key, Namespace};
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Error, ErrorKind, Result};
use tokio::task::yield_now;

use crate::backend::{self, locked};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A near cache that hears of nobody else's writes.
    NearCacheIsNotInvalidated,
    /// Values are handled as text.
    ValuesAreText,
    /// A batch is checked while it is sent.
    BatchIsCheckedOneByOne,
    /// A batch over the bound is split, and not refused.
    BatchIsSplit,
    /// The replies are taken out of a map, so that a key's second question finds none.
    SecondQuestionFindsNone,
    /// `MGET` without keys is an error of the server.
    EmptyBatchIsSent,
    /// The batch is gathered with `entry().or_insert()`.
    FirstOfABatchHolds,
    /// `EXISTS a a` is 2.
    RemovingCountsDuplicates,
    /// `SET GET KEEPTTL`, and the condition is judged by the old value afterwards.
    AbsentIsJudgedAfterwards,
    /// The same for a condition that nothing was there.
    PresentIsJudgedAfterwards,
    /// `get() or ''` in a script: what is absent equals the empty value.
    NothingEqualsEmpty,
    /// The condition is looked at, and then the value is set.
    CheckThenSet,
    /// `MSET` has no expiry.
    BatchHasNoTtl,
    /// Lives are shortened a little, so that not all end at once.
    EndsEarly,
    /// What was asked for is told, and not what is left.
    TtlIsToldAsItWasSet,
    /// `EX` in place of `PX`.
    TtlInWholeSeconds,
    /// `KEEPTTL` on every set.
    SetKeepsTheOldLife,
    /// The script's `PEXPIRE` stands after its `end`.
    NotStoredGivesANewLife,
    /// `PEXPIRE GT`.
    TouchOnlyLengthens,
    /// "Nothing to add": the server is not asked.
    AddingZeroAsksNobody,
    /// The sum is made by the client.
    AddIsGetAndSet,
    /// Every addition sets the expiry.
    AddGivesANewLife,
    /// The sum stops at the end of its range.
    AddSaturates,
    /// What is no number counts as zero.
    NoNumberIsZero,
    /// The store's collation does not tell upper from lower case.
    KeysAreFolded,
    /// `SET`, and then `PEXPIRE`.
    SetThenExpire,
    /// The reply of a call that was dropped is taken for that of the next.
    RepliesGetOutOfStep,
    /// One command for the whole batch, with the options of its first entry.
    BatchTakesTheFirstOptions,
    /// The conditional entries of a batch are sent last, and so are their outcomes.
    StoredOutcomesComeFirst,
    /// Values that are not there are left out of the answer.
    MissingValuesAreLeftOut,
    /// What was asked for is told with the value, and not what is left.
    ValuesComeWithTheTtlAsItWasSet,
    /// The schema number is for readers only.
    SchemaIsNotCompared,
    /// A newer value is left where it is.
    NewerIsLeftThere,
    /// Bytes are compared where a schema number would be, without a look at the header.
    AnyBytesHaveASchema,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Cache(super::Bug::Value(bug)), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof(
        "CACHE-01",
        Bug::NearCacheIsNotInvalidated,
        "value::is_read_back_by_every_handle",
        "a: Some(b\"two\")\nobserved: Some(b\"one\")",
    )
    .also(&["CACHE-58", "CACHE-61"]),
    proof("CACHE-02", Bug::ValuesAreText, "value::any_bytes", "expected: all: Some")
        .also(&["CACHE-29", "CACHE-38", "CACHE-61"]),
    proof("CACHE-03", Bug::BatchIsCheckedOneByOne, "value::size_cap", "b: None\nobserved: Some(b\"fine\")"),
    proof("CACHE-04", Bug::BatchIsSplit, "batch::bound", "too many to set: refused as invalid input"),
    proof("CACHE-05", Bug::SecondQuestionFindsNone, "batch::order", "values in the order asked"),
    proof("CACHE-06", Bug::EmptyBatchIsSent, "batch::empty", "wrong number of arguments"),
    proof("CACHE-07", Bug::FirstOfABatchHolds, "batch::last_holds", "observed: Some(b\"first\")"),
    proof(
        "CACHE-08",
        Bug::RemovingCountsDuplicates,
        "remove::counts_what_was_there",
        "distinct keys that held something: 2\nobserved: 3",
    ),
    proof(
        "CACHE-09",
        Bug::AbsentIsJudgedAfterwards,
        "when::absent",
        "a: Some(b\"one\")\nobserved: Some(b\"two\")",
    )
    .also(&["CACHE-41"]),
    proof("CACHE-10", Bug::PresentIsJudgedAfterwards, "when::present", "a: None\nobserved: Some(b\"one\")")
        .also(&["CACHE-41", "CACHE-43"]),
    proof("CACHE-11", Bug::NothingEqualsEmpty, "when::equals", "nothing is not the empty value: NotStored"),
    proof(
        "CACHE-12",
        Bug::CheckThenSet,
        "when::race_has_one_winner",
        "sets of 30 at once on the condition absent: 1\nobserved: 30",
    ),
    proof("CACHE-13", Bug::BatchHasNoTtl, "ttl::gone_at_deadline", "values after their deadline")
        .also(&["CACHE-26", "CACHE-27"]),
    proof("CACHE-14", Bug::EndsEarly, "ttl::there_until_deadline", "observed: None"),
    proof("CACHE-15", Bug::TtlIsToldAsItWasSet, "ttl::is_told", "what is left of the life"),
    proof("CACHE-16", Bug::TtlInWholeSeconds, "ttl::extremes", "short: None\nobserved: Some"),
    proof(
        "CACHE-17",
        Bug::SetKeepsTheOldLife,
        "ttl::set_gives_a_new_life",
        "a: Some(b\"y\")\nobserved: None",
    ),
    proof("CACHE-17", Bug::NotStoredGivesANewLife, "ttl::not_stored_changes_none", "a: None\nobserved: Some"),
    proof("CACHE-18", Bug::TouchOnlyLengthens, "ttl::touch", "b: None\nobserved: Some"),
    proof("CACHE-19", Bug::AddingZeroAsksNobody, "counter::is_text", "adding nothing: -2\nobserved: 0")
        .also(&["CACHE-40"]),
    proof("CACHE-20", Bug::AddIsGetAndSet, "counter::race_loses_nothing", "the sums of 60 additions at once"),
    proof("CACHE-21", Bug::AddGivesANewLife, "counter::window", "a: None\nobserved: Some(b\"2\")"),
    proof("CACHE-22", Bug::AddSaturates, "counter::range", "one more: refused as invalid input"),
    proof("CACHE-23", Bug::NoNumberIsZero, "counter::no_number", "word: refused as codec")
        .also(&["CACHE-41"]),
    proof("CACHE-24", Bug::KeysAreFolded, "isolation::keys", "each its own value"),
    must_fail(
        "CACHE-25",
        backend::Bug::PrefixForgotten,
        "isolation::places",
        "a: None\nobserved: Some(b\"here\")",
    ),
    must_fail(
        "CACHE-25",
        backend::Bug::PrefixForgotten,
        "isolation::places_of_leases",
        "the lease that nobody has",
    )
    .part("of_leases"),
    must_fail(
        "CACHE-25",
        backend::Bug::PrefixForgotten,
        "isolation::places_of_generations",
        "the generation here, after a bump elsewhere",
    )
    .part("of_generations"),
    must_fail(
        "CACHE-25",
        backend::Bug::PrefixForgotten,
        "isolation::places_of_watches",
        "news of another place: 0\nobserved: 1",
    )
    .part("of_watches"),
    proof("CACHE-26", Bug::SetThenExpire, "cancel::done_or_not_done", "the life that was asked for"),
    proof("CACHE-26", Bug::RepliesGetOutOfStep, "cancel::done_or_not_done", "observed: b\"another\""),
    proof("CACHE-27", Bug::BatchTakesTheFirstOptions, "batch::own_options", "the outcomes in the order")
        .also(&["CACHE-29", "CACHE-38"]),
    proof("CACHE-27", Bug::StoredOutcomesComeFirst, "batch::own_options", "the outcomes in the order")
        .also(&["CACHE-29"]),
    proof("CACHE-28", Bug::MissingValuesAreLeftOut, "batch::with_ttl", "nothing for what is not there")
        .also(&["CACHE-13", "CACHE-43"]),
    proof("CACHE-28", Bug::ValuesComeWithTheTtlAsItWasSet, "batch::with_ttl", "what is left of the life"),
    proof(
        "CACHE-29",
        Bug::SchemaIsNotCompared,
        "schema::newer_is_removed",
        "a set of a lesser schema: Newer",
    )
    .also(&["CACHE-38"]),
    proof("CACHE-29", Bug::NewerIsLeftThere, "schema::newer_is_removed", "a: None\nobserved: Some"),
    proof(
        "CACHE-29",
        Bug::AnyBytesHaveASchema,
        "schema::others_are_replaced",
        "no header: Stored\nobserved: Newer",
    ),
];

#[derive(Debug)]
pub(crate) struct Wrong {
    bug: Bug,
    right: Arc<dyn CacheStore>,
    read: Mutex<HashMap<Key, Bytes>>,
    lives: Mutex<HashMap<Key, Ttl>>,
    replies: Arc<Mutex<VecDeque<Option<Bytes>>>>,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, right: Arc<dyn CacheStore>) -> Self {
        Self { bug, right, read: Mutex::default(), lives: Mutex::default(), replies: Arc::default() }
    }

    /// The near cache and what it forgets by the handle's own writes.
    fn forget<'a>(&self, keys: impl IntoIterator<Item = &'a Key>) {
        keys.into_iter().for_each(|key| drop(locked(&self.read).remove(key)));
    }

    fn key(&self, key: &Key) -> Result<Key> {
        let mut parts = key.as_str().splitn(3, ':');
        let mut part = || parts.next().unwrap_or_default();
        let (service, kind, id) = (part(), part(), part());
        // What is escaped is left as it is.
        if self.bug == Bug::KeysAreFolded && id.chars().all(|c| c.is_ascii_alphabetic()) {
            return Key::new(service, kind, id.to_lowercase());
        }
        Ok(key.clone())
    }

    fn keys(&self, keys: &[Key]) -> Result<Vec<Key>> {
        keys.iter().map(|key| self.key(key)).collect()
    }

    /// What comes of a set that a value is in the way of, by its schema number.
    async fn in_the_way(&self, key: &Key, options: &SetOptions) -> Result<Option<SetOutcome>> {
        let Some(current) = self.right.get(key).await?.filter(|_| options.schema > 0) else {
            return Ok(None);
        };
        match self.bug {
            Bug::NewerIsLeftThere if schema_of(&current) > options.schema => {
                let left = self.left_or(key, options.ttl).await?;
                // The right one removes it; then it is put back.
                let outcome = self.right.set(key, Bytes::new(), options).await?;
                if outcome == SetOutcome::Newer {
                    let _back = self.right.set(key, current, &SetOptions::new(left)).await?;
                }
                Ok(Some(outcome))
            }
            Bug::AnyBytesHaveASchema => {
                let number =
                    current.get(4..8).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes);
                let is_newer = number.is_some_and(|number| number > options.schema);
                if !is_newer || schema_of(&current) > 0 {
                    return Ok(None);
                }
                self.right.remove_many(std::slice::from_ref(key)).await?;
                Ok(Some(SetOutcome::Newer))
            }
            _ => Ok(None),
        }
    }

    /// What is left of a value's life, or the life it shall get.
    async fn left_or(&self, key: &Key, ttl: Ttl) -> Result<Ttl> {
        Ok(self.right.ttl(key).await?.unwrap_or(ttl))
    }
}

/// A reply that comes, whether or not somebody still waits for it.
struct Reply {
    value: Option<Bytes>,
    queue: Arc<Mutex<VecDeque<Option<Bytes>>>>,
}

impl Drop for Reply {
    fn drop(&mut self) {
        locked(&self.queue).push_back(self.value.take());
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheStore for Wrong {
    fn capabilities(&self) -> CacheCapabilities {
        self.right.capabilities()
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        let key = &self.key(key)?;
        match self.bug {
            Bug::NearCacheIsNotInvalidated => {
                if let Some(value) = locked(&self.read).get(key) {
                    return Ok(Some(value.clone()));
                }
                let value = self.right.get(key).await?;
                locked(&self.read).extend(value.clone().map(|value| (key.clone(), value)));
                Ok(value)
            }
            Bug::RepliesGetOutOfStep => {
                let reply = Reply { value: self.right.get(key).await?, queue: Arc::clone(&self.replies) };
                yield_now().await;
                drop(reply);
                Ok(locked(&self.replies).pop_front().flatten())
            }
            _ => self.right.get(key).await,
        }
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        if self.bug == Bug::EmptyBatchIsSent && keys.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "wrong number of arguments"));
        }
        let values = self.right.get_many(&self.keys(keys)?).await?;
        if self.bug == Bug::SecondQuestionFindsNone {
            let mut replies: HashMap<_, _> = keys.iter().zip(values).collect();
            return Ok(keys.iter().map(|key| replies.remove(key).flatten()).collect());
        }
        Ok(values)
    }

    async fn set(&self, key: &Key, mut value: Bytes, options: &SetOptions) -> Result<SetOutcome> {
        let (key, mut options) = (&self.key(key)?, options.clone());
        self.forget([key]);
        locked(&self.lives).insert(key.clone(), options.ttl);
        if let Some(outcome) = self.in_the_way(key, &options).await? {
            return Ok(outcome);
        }
        match self.bug {
            Bug::SchemaIsNotCompared => options.schema = 0,
            Bug::ValuesAreText => value = String::from_utf8_lossy(&value).into_owned().into(),
            Bug::AbsentIsJudgedAfterwards if options.when == When::Absent => {
                if let Some(left) = self.right.ttl(key).await? {
                    let options = SetOptions::new(left).schema(options.schema);
                    let _overwritten = self.right.set(key, value, &options).await?;
                    return Ok(SetOutcome::NotStored);
                }
            }
            Bug::PresentIsJudgedAfterwards if options.when == When::Present => {
                let was_there = self.right.get(key).await?.is_some();
                let options = SetOptions::new(options.ttl).schema(options.schema);
                let set = self.right.set(key, value, &options).await?;
                return Ok(if was_there { set } else { SetOutcome::NotStored });
            }
            Bug::NothingEqualsEmpty
                if options.when == When::Equals(Bytes::new())
                    && self.right.get(key).await?.unwrap_or_default().is_empty() =>
            {
                options.when = When::Always;
            }
            Bug::CheckThenSet => {
                let now = self.right.get(key).await?;
                let holds = match options.when {
                    When::Absent => now.is_none(),
                    When::Present => now.is_some(),
                    When::Equals(expected) => now == Some(expected),
                    _ => true,
                };
                yield_now().await;
                if !holds {
                    return Ok(SetOutcome::NotStored);
                }
                options.when = When::Always;
            }
            Bug::EndsEarly => {
                let life = options.ttl.as_duration();
                options.ttl = Ttl::new(life.saturating_sub(Duration::from_secs(5).min(life / 10)))?;
            }
            Bug::TtlInWholeSeconds => {
                options.ttl = Ttl::new(Duration::from_secs(options.ttl.as_millis().div_ceil(1_000)))?;
            }
            Bug::SetKeepsTheOldLife => options.ttl = self.left_or(key, options.ttl).await?,
            Bug::SetThenExpire => {
                let life = std::mem::replace(&mut options.ttl, Ttl::MAX);
                let outcome = self.right.set(key, value, &options).await?;
                yield_now().await;
                if outcome == SetOutcome::Stored {
                    self.right.touch(key, life).await?;
                }
                return Ok(outcome);
            }
            _ => {}
        }
        let outcome = self.right.set(key, value, &options).await?;
        if self.bug == Bug::NotStoredGivesANewLife {
            self.right.touch(key, options.ttl).await?;
        }
        Ok(outcome)
    }

    async fn set_many(&self, entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        self.forget(entries.iter().map(|entry| &entry.key));
        let mut entries = entries.to_vec();
        for entry in &mut entries {
            entry.key = self.key(&entry.key)?;
        }
        let (asked, mut outcomes) = (entries.len(), Vec::new());
        match self.bug {
            Bug::BatchIsCheckedOneByOne => {
                self.capabilities().check_batch(entries.len())?;
                for entry in &entries {
                    outcomes.extend(self.right.set_many(std::slice::from_ref(entry)).await?);
                }
                return Ok(outcomes);
            }
            Bug::BatchIsSplit => {
                for part in entries.chunks(self.capabilities().max_batch) {
                    outcomes.extend(self.right.set_many(part).await?);
                }
                return Ok(outcomes);
            }
            Bug::FirstOfABatchHolds => {
                let mut seen = BTreeSet::new();
                entries.retain(|entry| seen.insert(entry.key.clone()));
                outcomes.extend(self.right.set_many(&entries).await?);
                // Whoever asked twice is answered twice.
                outcomes.resize(asked, SetOutcome::Stored);
                return Ok(outcomes);
            }
            Bug::BatchTakesTheFirstOptions => {
                let first = entries.first().map(|entry| entry.options.clone());
                for (entry, options) in entries.iter_mut().zip(std::iter::repeat(first).flatten()) {
                    entry.options = options;
                }
            }
            Bug::StoredOutcomesComeFirst => {
                let mut outcomes = self.right.set_many(&entries).await?;
                outcomes.sort_by_key(|outcome| *outcome != SetOutcome::Stored);
                return Ok(outcomes);
            }
            Bug::BatchHasNoTtl => entries.iter_mut().for_each(|entry| entry.options.ttl = Ttl::MAX),
            _ => {}
        }
        self.right.set_many(&entries).await
    }

    async fn remove_many(&self, keys: &[Key]) -> Result<u64> {
        self.forget(keys);
        let keys = self.keys(keys)?;
        if self.bug == Bug::RemovingCountsDuplicates {
            let there = self.right.get_many(&keys).await?.into_iter().flatten().count();
            self.right.remove_many(&keys).await?;
            return Ok(there as u64);
        }
        self.right.remove_many(&keys).await
    }

    async fn add(&self, key: &Key, delta: i64, ttl: Ttl) -> Result<i64> {
        let key = &self.key(key)?;
        self.forget([key]);
        match self.bug {
            Bug::AddingZeroAsksNobody if delta == 0 => Ok(0),
            Bug::AddIsGetAndSet => {
                let now = self.right.get(key).await?.unwrap_or(Bytes::from_static(b"0"));
                yield_now().await;
                let number: Option<i64> = std::str::from_utf8(&now).ok().and_then(|text| text.parse().ok());
                match number.and_then(|number| number.checked_add(delta)) {
                    Some(sum) if number.map(|number| number.to_string().into()) == Some(now) => {
                        let options = SetOptions::new(self.left_or(key, ttl).await?);
                        let _set = self.right.set(key, sum.to_string().into(), &options).await?;
                        Ok(sum)
                    }
                    // The right error.
                    _ => self.right.add(key, delta, ttl).await,
                }
            }
            Bug::AddGivesANewLife => {
                let sum = self.right.add(key, delta, ttl).await?;
                self.right.touch(key, ttl).await?;
                Ok(sum)
            }
            Bug::AddSaturates => match self.right.add(key, delta, ttl).await {
                Err(error) if error.kind() == ErrorKind::InvalidInput => Ok(i64::MAX),
                answer => answer,
            },
            Bug::NoNumberIsZero => match self.right.add(key, delta, ttl).await {
                Err(error) if error.kind() == ErrorKind::Codec => {
                    let _set = self.right.set(key, delta.to_string().into(), &SetOptions::new(ttl)).await?;
                    Ok(delta)
                }
                answer => answer,
            },
            _ => self.right.add(key, delta, ttl).await,
        }
    }

    async fn touch(&self, key: &Key, ttl: Ttl) -> Result<bool> {
        let key = &self.key(key)?;
        self.forget([key]);
        match self.bug {
            Bug::TouchOnlyLengthens => self.right.touch(key, ttl.max(self.left_or(key, ttl).await?)).await,
            _ => self.right.touch(key, ttl).await,
        }
    }

    async fn ttl(&self, key: &Key) -> Result<Option<Ttl>> {
        let key = &self.key(key)?;
        let left = self.right.ttl(key).await?;
        if self.bug == Bug::TtlIsToldAsItWasSet {
            return Ok(left.map(|left| locked(&self.lives).get(key).copied().unwrap_or(left)));
        }
        Ok(left)
    }

    fn now(&self) -> Timestamp {
        self.right.now()
    }

    async fn get_many_with_ttl(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        let keys = self.keys(keys)?;
        let mut read = self.right.get_many_with_ttl(&keys).await?;
        match self.bug {
            Bug::MissingValuesAreLeftOut => read.retain(Option::is_some),
            Bug::ValuesComeWithTheTtlAsItWasSet => {
                let lives = locked(&self.lives);
                for ((_, left), life) in
                    read.iter_mut().flatten().zip(keys.iter().filter_map(|key| lives.get(key)))
                {
                    *left = *life;
                }
            }
            _ => {}
        }
        Ok(read)
    }

    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        self.right.fetch(requests).await
    }

    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        self.right.fill(fills).await
    }

    async fn abandon(&self, leases: &[(Key, LeaseToken)]) -> Result<()> {
        self.right.abandon(leases).await
    }

    async fn generations(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        self.right.generations(tags).await
    }

    async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        self.right.bump(tags).await
    }

    fn watch(&self, namespace: &Namespace, watcher: Arc<dyn Watcher>) -> Result<Watch> {
        self.right.watch(namespace, watcher)
    }
}
