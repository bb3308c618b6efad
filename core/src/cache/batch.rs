//! Many values at once: one trip per master for all of them.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::inner::{Before, Inner, is_callers};
use super::judge::{Found, Judged};
use super::lease_guard::LeaseGuard;
use super::wire::Read;
use super::write::OwnWrite;
use super::{
    Cache, Fetched, Fill, FillOutcome, Freshness, Generation, LeaseRequest, LeaseToken, LoadError, Loaded,
    Served, SetEntry, SetOutcome, Tag, Want, When, Why,
};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::{Identifier, Key};
use crate::time::{Timestamp, Ttl};

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Cache<T, C> {
    /// The values, in the order of the identifiers, in one trip per master for those that are not near.
    ///
    /// # Errors
    /// As [`get`](Self::get), for all of them; `InvalidInput` for more than the backend takes in one batch, 10,000 unless set.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn get_many<I: Identifier>(&self, ids: &[I]) -> Result<Vec<Option<Arc<T>>>> {
        let keys = self.keys(ids)?;
        let found = self.0.look_many(&keys).await?;
        found
            .into_iter()
            .map(|found| match found {
                Found::Fresh { value, .. } => Ok(value),
                Found::Down(error) => Err(error),
                _ => Ok(None),
            })
            .collect()
    }

    fn keys<I: Identifier>(&self, ids: &[I]) -> Result<Vec<Key>> {
        ids.iter().map(|id| self.key(id)).collect()
    }

    /// Sets the values, whatever is there, in one trip per master. Not one atomic step: on an error some may be set.
    ///
    /// # Errors
    /// Those of [every method](Cache#errors); `InvalidInput` also for more than the backend takes in one batch, 10,000 unless
    /// set. An argument that is refused is refused before anything is set.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each value either set or not.
    pub async fn set_many<I: Identifier>(&self, values: &[(I, T)]) -> Result<()> {
        let inner = &*self.0;
        let keys = values.iter().map(|(id, _)| self.key(id)).collect::<Result<Vec<_>>>()?;
        let tags: Vec<Vec<Tag>> = keys.iter().map(|key| inner.tags_of(inner.identifier(key))).collect();
        let known = inner.generations_of(tags.iter().flatten()).await?;
        let mut entries = Vec::with_capacity(values.len());
        for ((key, (_, value)), tags) in keys.iter().zip(values).zip(tags) {
            let stamped = known.stamp(tags, inner);
            let (bytes, options) = inner.prepare(key, value, None, stamped, When::Always)?;
            entries.push(SetEntry::new(key.clone(), bytes, options));
        }
        let _own = OwnWrite::of(&inner.told, &keys);
        let outcomes = inner.store.set_many(&entries).await?;
        let stored = entries.iter().zip(outcomes).filter(|(_, outcome)| *outcome == SetOutcome::Stored);
        inner.counts.bytes_written.add(stored.map(|(entry, _)| entry.value.len() as u64).sum());
        Ok(())
    }

    /// Removes the values and says how many there were, in one trip per master.
    ///
    /// # Errors
    /// Those of [every method](Cache#errors); `InvalidInput` also for more than the backend takes in one batch, 10,000 unless
    /// set. On another error some may be removed; removing again does no harm.
    ///
    /// # Cancel safety
    /// Dropping the future leaves each value either removed or not.
    pub async fn remove_many<I: Identifier>(&self, ids: &[I]) -> Result<u64> {
        self.0.remove(&self.keys(ids)?).await
    }

    /// The values, in the order of the identifiers; what is missing is loaded by one call of the loader, for all of it,
    /// and stored. The loader answers what it has, in any order; what it does not answer is `None`, and is remembered as
    /// absent where there is a [`negative_ttl`](super::CacheBuilder::negative_ttl).
    ///
    /// A value that another process is loading at the same time is loaded here too, and not stored. One that can't be
    /// stored, as it is too large, say, is served all the same, and spoils none of the others. If the loader fails, stale
    /// values are served where there is one for each that is missing ([`fail_safe`](super::CacheBuilder::fail_safe)).
    /// Nothing is loaded ahead of its end ([`eager`](super::CacheBuilder::eager)), and a batch has no timeout but its
    /// caller's.
    ///
    /// # Errors
    /// The loader's, or why the call could not be made at all.
    ///
    /// # Cancel safety
    /// Dropping the future drops the load, and gives its leases back.
    pub async fn get_or_load_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        load: L,
    ) -> Result<Vec<Option<Arc<T>>>, LoadError<E>>
    where
        I: Identifier + Clone + Eq + Hash,
        L: FnOnce(Vec<I>) -> F,
        F: Future<Output = Result<Vec<(I, V)>, E>>,
        V: Into<Loaded<T>>,
    {
        let served = self.serve_many(ids, load).await?;
        Ok(served.into_iter().map(|served| served.map(|served| served.value)).collect())
    }

    /// As [`get_or_load_many`](Self::get_or_load_many), and tells of each whether it is stale.
    ///
    /// # Errors
    /// As [`get_or_load_many`](Self::get_or_load_many).
    ///
    /// # Cancel safety
    /// As [`get_or_load_many`](Self::get_or_load_many).
    pub async fn serve_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        load: L,
    ) -> Result<Vec<Option<Served<T>>>, LoadError<E>>
    where
        I: Identifier + Clone + Eq + Hash,
        L: FnOnce(Vec<I>) -> F,
        F: Future<Output = Result<Vec<(I, V)>, E>>,
        V: Into<Loaded<T>>,
    {
        Ok(self.fill_many(ids, load, InOutage::Load).await?.values)
    }

    /// As [`serve_many`](Self::serve_many), and counts.
    pub(super) async fn fill_many<I, E, V, F, L>(
        &self,
        ids: &[I],
        load: L,
        in_outage: InOutage,
    ) -> Result<Filled<T>, LoadError<E>>
    where
        I: Identifier + Clone + Eq + Hash,
        L: FnOnce(Vec<I>) -> F,
        F: Future<Output = Result<Vec<(I, V)>, E>>,
        V: Into<Loaded<T>>,
    {
        let inner = &*self.0;
        let keys = self.keys(ids)?;
        let found = inner.look_many(&keys).await?;
        let mut filled = Filled { values: vec![None; ids.len()], present: 0, stored: 0, unreachable: 0 };
        // Each missing identifier once, in the order asked.
        let mut missing: Vec<Missing<I, T>> = Vec::new();
        let mut places: HashMap<&I, usize> = HashMap::new();
        for (place, ((id, key), found)) in ids.iter().zip(&keys).zip(found).enumerate() {
            let (present, store, stale) = match found {
                Found::Fresh { value, .. } => {
                    filled.values[place] = value.map(fresh);
                    filled.present += 1;
                    continue;
                }
                Found::Nothing { present } => (present, true, None),
                Found::Stale { value, age } => {
                    (true, true, (age <= inner.policy.fail_safe).then_some((value, age)))
                }
                Found::Newer => (false, false, None),
                Found::Down(_) if in_outage == InOutage::PassOver => {
                    filled.unreachable += 1;
                    continue;
                }
                Found::Down(error) => {
                    let known = inner.last_resort(inner.identifier(key));
                    if inner.policy.fail_closed && known.is_none() {
                        return Err(error.into());
                    }
                    (false, false, known)
                }
            };
            if let Some((value, age)) = &stale {
                let why = match () {
                    () if inner.throttled.is(key, inner.now()) => Some(Why::LoaderFailed),
                    () if inner.policy.fail_closed && !store => Some(Why::StoreFailed),
                    () => None,
                };
                if let Some(why) = why {
                    filled.values[place] = inner.stale_one(value.clone(), *age, why);
                    continue;
                }
            }
            let index = *places.entry(id).or_insert_with(|| {
                let (id, key) = (id.clone(), key.clone());
                missing.push(Missing { id, key, present, store, stale, at: Vec::new() });
                missing.len() - 1
            });
            missing[index].at.push(place);
        }
        if missing.is_empty() {
            return Ok(filled);
        }
        let mut leased = inner.lease_many(&missing).await?;
        if inner.policy.fail_closed
            && let Some(error) = leased.refused.take()
        {
            return Err(error.into());
        }
        inner.counts.loads.one();
        let begun = inner.now();
        let ids = missing.iter().map(|missing| missing.id.clone()).collect();
        let loaded = tokio::select! {
            biased;
            loaded = load(ids) => loaded,
            never = inner.keep(&leased.guard) => match never {},
        };
        let took = inner.now().saturating_since(begun);
        inner.counts.load_time.add(took);
        let loaded = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                inner.counts.load_failures.one();
                let served = inner.stale_many(missing, &mut filled);
                return if served { Ok(filled) } else { Err(LoadError::Loader(error)) };
            }
        };
        let mut loaded: HashMap<I, Loaded<T>> =
            loaded.into_iter().map(|(id, value)| (id, value.into())).collect();
        leased.took = took;
        leased.late = inner.late_of(loaded.values(), took).await;
        let mut fills = Vec::new();
        for missing in &missing {
            let mut value = loaded.remove(&missing.id).unwrap_or_else(Loaded::none);
            let held = value.value.take().map(Arc::new);
            if value.store
                && let Some(token) = leased.tokens.get(&missing.key).copied()
            {
                // One that can't be stored is served all the same, and spoils none of the others.
                match inner.to_fill(&missing.key, token, held.as_deref(), &value, &leased) {
                    Ok(fill) => fills.extend(fill),
                    Err(error) => inner.not_filled(&error),
                }
            }
            for place in &missing.at {
                filled.values[*place] = held.clone().map(fresh);
            }
        }
        filled.stored = inner.fill_all(fills, &mut leased).await;
        Ok(filled)
    }
}

/// What becomes of values that the store does not answer for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum InOutage {
    /// The loader serves.
    Load,
    /// There is nothing to be filled.
    PassOver,
}

const fn fresh<T>(value: Arc<T>) -> Served<T> {
    Served { value, freshness: Freshness::Fresh }
}

/// What a batch was filled with.
pub(super) struct Filled<T> {
    pub(super) values: Vec<Option<Served<T>>>,
    /// How many were there.
    pub(super) present: u64,
    /// How many were stored.
    pub(super) stored: u64,
    /// How many were passed over, since the store did not answer.
    pub(super) unreachable: u64,
}

/// An identifier without a value.
struct Missing<I, T> {
    id: I,
    key: Key,
    present: bool,
    store: bool,
    /// Served if the load fails: the value, and how long its life has been over.
    stale: Option<(Option<Arc<T>>, Duration)>,
    /// Where it was asked for.
    at: Vec<usize>,
}

/// The leases of a batch, and the generations from before its load.
struct LeasedMany {
    tokens: HashMap<Key, LeaseToken>,
    generations: Generations,
    guard: LeaseGuard,
    /// How long the load took.
    took: Duration,
    /// The generations of the tags that the loader gave.
    late: Generations,
    /// Why there are no leases, if the store is away.
    refused: Option<Error>,
}

/// Generations that were read.
#[derive(Debug, Default)]
struct Generations(HashMap<Tag, Generation>);

impl Generations {
    fn of(&self, tag: &Tag) -> Option<Generation> {
        self.0.get(tag).copied()
    }

    /// Tags with their generations, the namespace's last.
    fn stamp<T, C>(&self, mut tags: Vec<Tag>, inner: &Inner<T, C>) -> Vec<(Tag, Generation)> {
        if inner.mirror.is_none() {
            return Vec::new();
        }
        tags.push(inner.namespace_tag.clone());
        tags.into_iter().filter_map(|tag| self.of(&tag).map(|generation| (tag, generation))).collect()
    }
}

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Inner<T, C> {
    /// The generations of these tags and of the namespace, in one trip for those that are not mirrored.
    async fn generations_of<'a>(&self, tags: impl Iterator<Item = &'a Tag>) -> Result<Generations> {
        let Some(mirror) = &self.mirror else {
            return Ok(Generations::default());
        };
        let mut all: Vec<Tag> = tags.cloned().chain([self.namespace_tag.clone()]).collect();
        all.sort_unstable();
        all.dedup();
        let generations = mirror.generations(&all).await?;
        Ok(Generations(all.into_iter().zip(generations).collect()))
    }

    /// Reads many entries: near, then the store, then what generations they need.
    async fn look_many(&self, keys: &[Key]) -> Result<Vec<Found<T>>> {
        let mut found: Vec<Option<Found<T>>> = keys
            .iter()
            .map(|key| {
                // Nothing of a batch is loaded ahead of its end.
                let fresh = |value| Found::Fresh { value, due: false, until: Timestamp::default() };
                self.near(self.identifier(key), true).map(|hit| fresh(hit.value))
            })
            .collect();
        let asked: Vec<usize> = (0..keys.len()).filter(|place| found[*place].is_none()).collect();
        let missing: Vec<Key> = asked.iter().map(|place| keys[*place].clone()).collect();
        if !missing.is_empty() {
            let before: Vec<Before> = missing.iter().map(|key| self.before(self.identifier(key))).collect();
            let stored = match self.read_many(&missing).await {
                Ok(stored) => stored,
                Err(error) if is_callers(&error) => return Err(error),
                Err(error) => {
                    self.store_failed(&error);
                    for place in &asked {
                        found[*place] = Some(Found::Down(error.clone()));
                    }
                    return Ok(found.into_iter().flatten().collect());
                }
            };
            self.judge_many(&asked, &missing, &before, &stored, &mut found).await?;
        }
        Ok(found.into_iter().flatten().inspect(|found| self.count(found)).collect())
    }

    fn count(&self, found: &Found<T>) {
        match found {
            // Near hits are counted where they are found; here they are few beside a trip.
            Found::Fresh { .. } => {}
            _ => self.counts.misses.one(),
        }
    }

    async fn read_many(&self, keys: &[Key]) -> Result<Vec<Option<(Bytes, Option<Ttl>)>>> {
        if self.wire.plain {
            let found = self.ask(self.store.get_many_with_ttl(keys)).await?;
            return Ok(found.into_iter().map(|one| one.map(|(bytes, left)| (bytes, Some(left)))).collect());
        }
        let found = self.ask(self.store.get_many(keys)).await?;
        Ok(found.into_iter().map(|one| one.map(|bytes| (bytes, None))).collect())
    }

    async fn judge_many(
        &self,
        places: &[usize],
        keys: &[Key],
        before: &[Before],
        stored: &[Option<(Bytes, Option<Ttl>)>],
        found: &mut [Option<Found<T>>],
    ) -> Result<()> {
        let mirrored = |tag: &Tag| self.mirror.as_ref().and_then(|mirror| mirror.peek(tag));
        let (mut needed, mut waiting) = (Vec::new(), Vec::new());
        for (index, place) in places.iter().enumerate() {
            let Some((bytes, left)) = &stored[index] else {
                found[*place] = Some(Found::Nothing { present: false });
                continue;
            };
            match self.judge(&keys[index], bytes, *left, before[index], mirrored) {
                Judged::Found(one) => {
                    if matches!(one, Found::Fresh { .. }) {
                        self.counts.store_hits.one();
                    }
                    found[*place] = Some(one);
                }
                Judged::Needs(tags) => {
                    needed.extend(tags);
                    waiting.push((index, *place));
                }
            }
        }
        if waiting.is_empty() {
            return Ok(());
        }
        let known = match self.ask(self.generations_of(needed.iter())).await {
            Ok(known) => known,
            Err(error) if is_callers(&error) => return Err(error),
            Err(error) => {
                self.store_failed(&error);
                for (_, place) in &waiting {
                    found[*place] = Some(Found::Down(error.clone()));
                }
                return Ok(());
            }
        };
        for (index, place) in waiting {
            let Some((bytes, left)) = &stored[index] else {
                continue;
            };
            // Those that were mirrored a moment ago may no longer be.
            let of = |tag: &Tag| known.of(tag).or_else(|| mirrored(tag));
            found[place] = Some(match self.judge(&keys[index], bytes, *left, before[index], of) {
                Judged::Found(one) => one,
                Judged::Needs(_) => Found::Nothing { present: true },
            });
            if matches!(found[place], Some(Found::Fresh { .. })) {
                self.counts.store_hits.one();
            }
        }
        Ok(())
    }

    /// Takes the leases that can be had now; the rest is loaded without.
    async fn lease_many<I>(&self, missing: &[Missing<I, T>]) -> Result<LeasedMany> {
        let mut requests = Vec::new();
        for missing in missing.iter().filter(|missing| missing.store) {
            let mut token = [0; 16];
            self.environment.random.fill(&mut token)?;
            let want = if missing.present { Want::Anyway } else { Want::IfAbsent };
            let token = LeaseToken::new(token);
            requests.push(LeaseRequest::new(missing.key.clone(), token, self.policy.lease, want));
        }
        let guard = LeaseGuard::of(&self.store, &self.environment.tasks, &requests);
        let mut leased = LeasedMany {
            tokens: HashMap::new(),
            generations: Generations::default(),
            guard,
            took: Duration::ZERO,
            late: Generations::default(),
            refused: None,
        };
        if requests.is_empty() {
            return Ok(leased);
        }
        let answers = match self.ask(self.store.fetch(&requests)).await {
            Ok(answers) => answers,
            Err(error) => {
                leased.guard.refused(&error);
                if is_callers(&error) {
                    return Err(error);
                }
                self.store_failed(&error);
                leased.refused = Some(error);
                return Ok(leased);
            }
        };
        for (request, answer) in requests.into_iter().zip(answers) {
            match answer {
                // Of a newer schema since it was looked at: left alone, and the guard gives the lease back.
                Fetched::Leased { current: Some(bytes) }
                    if matches!(self.wire.read(&request.key, &bytes), Read::Newer) => {}
                Fetched::Leased { .. } => {
                    leased.tokens.insert(request.key, request.token);
                }
                _ => leased.guard.settle(request.token),
            }
        }
        let tags: Vec<Tag> =
            leased.tokens.keys().flat_map(|key| self.tags_of(self.identifier(key))).collect();
        match self.ask(self.generations_of(tags.iter())).await {
            Ok(generations) => leased.generations = generations,
            Err(error) if is_callers(&error) => return Err(error),
            Err(error) => {
                self.store_failed(&error);
                leased.tokens.clear();
                // Nothing will be stored: nobody is to wait for that.
                leased.guard.give_back();
                leased.refused = Some(error);
            }
        }
        Ok(leased)
    }

    fn stale_one(&self, value: Option<Arc<T>>, age: Duration, why: Why) -> Option<Served<T>> {
        self.counts.stale_served.one();
        value.map(|value| Served { value, freshness: Freshness::Stale { age, why } })
    }

    /// After a failed load: serves stale values if there is one for each, and leaves the loader alone.
    fn stale_many<I>(&self, missing: Vec<Missing<I, T>>, filled: &mut Filled<T>) -> bool {
        if missing.iter().any(|missing| missing.stale.is_none()) {
            return false;
        }
        for Missing { key, stale, at, .. } in missing {
            let now = self.now();
            self.throttled.until(&key, now.saturating_add(self.policy.throttle), now);
            let Some((value, age)) = stale else { continue };
            for place in at {
                filled.values[place] = self.stale_one(value.clone(), age, Why::LoaderFailed);
            }
        }
        true
    }

    /// The generations of the tags that these values were given by their loader, those that may have been dropped since
    /// it began left out.
    async fn late_of<'a>(&self, loaded: impl Iterator<Item = &'a Loaded<T>>, took: Duration) -> Generations {
        let mut tags: Vec<Tag> = loaded.flat_map(|value| &value.tags).cloned().collect();
        tags.sort_unstable();
        tags.dedup();
        if tags.is_empty() || self.mirror.is_none() {
            return Generations::default();
        }
        match self.late_generations(&tags, took).await {
            Ok(late) => Generations(late.into_iter().flatten().collect()),
            Err(error) => {
                self.store_failed(&error);
                Generations::default()
            }
        }
    }

    fn to_fill(
        &self,
        key: &Key,
        token: LeaseToken,
        value: Option<&T>,
        loaded: &Loaded<T>,
        leased: &LeasedMany,
    ) -> Result<Option<Fill>> {
        if self.mirror.is_none() && !loaded.tags.is_empty() {
            return Err(Error::unsupported("plain values carry no tags"));
        }
        let Some(life) = self.life_of(loaded.ttl, value.is_some())? else {
            return Ok(None);
        };
        let mut tags = leased.generations.stamp(self.tags_of(self.identifier(key)), self);
        let namespace = tags.pop().map(|(_, generation)| generation);
        for tag in &loaded.tags {
            let Some(generation) = leased.late.of(tag) else {
                self.counts.fenced.one();
                return Ok(None);
            };
            tags.push((tag.clone(), generation));
        }
        let stamp = self.stamp(life, leased.took, namespace, tags);
        let bytes = self.wire.encode(key, value, stamp, &*self.environment.random)?;
        self.store.capabilities().check_value(bytes.len())?;
        Ok(Some(Fill::new(key.clone(), token, bytes, self.policy.kept(life))))
    }

    /// Stores what was loaded; answers how many were stored.
    async fn fill_all(&self, fills: Vec<Fill>, leased: &mut LeasedMany) -> u64 {
        if fills.is_empty() {
            return 0;
        }
        let keys: Vec<Key> = fills.iter().map(|fill| fill.key.clone()).collect();
        let _own = OwnWrite::of(&self.told, &keys);
        let outcomes = match self.ask(self.store.fill(&fills)).await {
            Ok(outcomes) => outcomes,
            Err(error) => {
                self.store_failed(&error);
                return 0;
            }
        };
        let mut stored = 0;
        for (fill, outcome) in fills.iter().zip(outcomes) {
            leased.guard.settle(fill.token);
            if outcome == FillOutcome::Filled {
                self.counts.bytes_written.add(fill.value.len() as u64);
                stored += 1;
            } else {
                self.counts.fenced.one();
            }
        }
        stored
    }

    /// How long a loaded value counts; `None` if it is not to be stored.
    pub(super) fn life_of(&self, own: Option<Duration>, is_value: bool) -> Result<Option<Ttl>> {
        let life = match (own, is_value, self.policy.negative_ttl) {
            (Some(ttl), _, _) => Ttl::new(ttl)?,
            (None, true, _) => self.policy.ttl,
            (None, false, Some(negative)) => negative,
            // It is not to be remembered that there is none.
            (None, false, None) => return Ok(None),
        };
        Ok(Some(self.policy.jittered(life, &*self.environment.random)))
    }
}
