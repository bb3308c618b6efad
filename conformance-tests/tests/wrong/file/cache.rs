//! Counters and leases in the file.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use stanchion::cache::{
    CacheCapabilities, CacheCounters, CacheFeed, CacheLeases, CacheStore, CacheTags, Fetched, Fill,
    FillOutcome, LeaseRequest, Release, SetEntry, SetOptions, SetOutcome, Shard,
};
use stanchion::clock::{Clock, SystemClock};
use stanchion::contract::Contract;
use stanchion::key::Key;
use stanchion::time::{Timestamp, Ttl};
use stanchion::{Error, Result};

use super::state::{Change, Files, Lease, State, not_here, now};

impl State {
    fn lease_on(&self, key: &str) -> Option<&Lease> {
        self.leases.get(key).filter(|lease| lease.until > now())
    }
}

fn fetch(state: &mut State, request: &LeaseRequest) -> Fetched {
    let key = request.key.as_str();
    if let Some(value) = state.values.get(key) {
        return Fetched::Hit(Bytes::from(value.clone()));
    }
    let token = request.token.to_hex();
    match state.lease_on(key) {
        Some(lease) if lease.token != token => {
            let remaining = Duration::from_micros(lease.until.saturating_sub(now()));
            Fetched::Busy { remaining, current: None }
        }
        _ => {
            let until = now() + request.lease.as_millis() * 1_000;
            state.leases.insert(key.to_owned(), Lease { token, until });
            Fetched::Leased { current: None }
        }
    }
}

fn fill(state: &mut State, fill: &Fill) -> FillOutcome {
    let key = fill.key.as_str();
    if state.lease_on(key).is_none_or(|lease| lease.token != fill.token.to_hex()) {
        return FillOutcome::Fenced;
    }
    state.leases.remove(key);
    state.values.insert(key.to_owned(), String::from_utf8_lossy(&fill.value).into_owned());
    FillOutcome::Filled
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheStore for Files {
    fn capabilities(&self) -> CacheCapabilities {
        CacheCapabilities::new(Contract::V1)
    }

    fn leases(&self) -> Option<&dyn CacheLeases> {
        Some(self)
    }

    fn tags(&self) -> Option<&dyn CacheTags> {
        None
    }

    fn feed(&self) -> Option<&dyn CacheFeed> {
        None
    }

    fn counters(&self) -> Option<&dyn CacheCounters> {
        Some(self)
    }

    fn now(&self) -> Timestamp {
        SystemClock.wall()
    }

    fn shard_of(&self, _: &Key) -> Shard {
        Shard::ONLY
    }

    async fn get(&self, key: &Key) -> Result<Option<Bytes>> {
        self.look(|state| state.values.get(key.as_str()).cloned().map(Bytes::from))
    }

    async fn get_many(&self, _keys: &[Key]) -> Result<Vec<Option<Bytes>>> {
        not_here()
    }

    async fn get_many_with_ttl(&self, _keys: &[Key]) -> Result<Vec<Option<(Bytes, Ttl)>>> {
        not_here()
    }

    async fn set(&self, _key: &Key, _value: Bytes, _options: &SetOptions) -> Result<SetOutcome> {
        not_here()
    }

    async fn set_many(&self, _entries: &[SetEntry]) -> Result<Vec<SetOutcome>> {
        not_here()
    }

    async fn remove_many(&self, _keys: &[Key]) -> Result<u64> {
        not_here()
    }

    async fn touch(&self, _key: &Key, _ttl: Ttl) -> Result<bool> {
        not_here()
    }

    async fn ttl(&self, _key: &Key) -> Result<Option<Ttl>> {
        not_here()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheLeases for Files {
    async fn fetch(&self, requests: &[LeaseRequest]) -> Result<Vec<Fetched>> {
        self.change(Change::Lease, |state| Ok(requests.iter().map(|one| fetch(state, one)).collect()))
    }

    async fn fill(&self, fills: &[Fill]) -> Result<Vec<FillOutcome>> {
        self.change(Change::Lease, |state| Ok(fills.iter().map(|one| fill(state, one)).collect()))
    }

    async fn release(&self, _leases: &[Release]) -> Result<()> {
        not_here()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl CacheCounters for Files {
    async fn add(&self, key: &Key, delta: i64, _ttl: Ttl) -> Result<i64> {
        self.change(Change::Addition, |state| {
            let value = state.values.entry(key.as_str().to_owned()).or_insert_with(|| "0".to_owned());
            let number: i64 = value.parse().map_err(|_| Error::invalid("no number"))?;
            *value = (number + delta).to_string();
            Ok(number + delta)
        })
    }
}
