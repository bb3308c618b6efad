//! Reading many entries: near, then the store, then what generations they need.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Generations;
use crate::cache::Tag;
use crate::cache::inner::{Before, Inner, is_callers};
use crate::cache::judge::{Found, Judged};
use crate::codec::Codec;
use crate::error::Result;
use crate::key::Key;
use crate::time::{Timestamp, Ttl};

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Inner<T, C> {
    /// The generations of these tags and of the namespace, in one trip for those that are not mirrored.
    pub(super) async fn generations_of<'a>(
        &self,
        tags: impl Iterator<Item = &'a Tag>,
    ) -> Result<Generations> {
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
    pub(super) async fn look_many(&self, keys: &[Key]) -> Result<Vec<Found<T>>> {
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
}
