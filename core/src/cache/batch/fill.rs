//! The leases of a batch, and storing what was loaded under them.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{Generations, LeasedMany, Missing};
use crate::cache::inner::{Inner, is_callers};
use crate::cache::lease_guard::LeaseGuard;
use crate::cache::wire::Read;
use crate::cache::write::OwnWrite;
use crate::cache::{Fetched, Fill, FillOutcome, LeaseRequest, LeaseToken, Loaded, Tag, Want};
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::time::Ttl;

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Inner<T, C> {
    /// Takes the leases that can be had now; the rest is loaded without.
    pub(super) async fn lease_many<I>(&self, missing: &[Missing<I, T>]) -> Result<LeasedMany> {
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
        if requests.is_empty() || self.store.leases().is_none() {
            leased.guard.give_back();
            return Ok(leased);
        }
        let answers = match self.ask(self.leases()?.fetch(&requests)).await {
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

    /// The generations of the tags that these values were given by their loader, those that may have been dropped since
    /// it began left out.
    pub(super) async fn late_of<'a>(
        &self,
        loaded: impl Iterator<Item = &'a Loaded<T>>,
        took: Duration,
    ) -> Generations {
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

    pub(super) fn to_fill(
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
    pub(super) async fn fill_all(&self, fills: Vec<Fill>, leased: &mut LeasedMany) -> u64 {
        if fills.is_empty() {
            return 0;
        }
        let keys: Vec<Key> = fills.iter().map(|fill| fill.key.clone()).collect();
        let _own = OwnWrite::of(&self.told, &keys);
        let Some(leases) = self.store.leases() else { return 0 };
        let outcomes = match self.ask(leases.fill(&fills)).await {
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
    pub(in crate::cache) fn life_of(&self, own: Option<Duration>, is_value: bool) -> Result<Option<Ttl>> {
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
