//! Storing what was loaded, unless something was written or dropped meanwhile.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::lease::Leased;
use crate::cache::inner::Inner;
use crate::cache::write::OwnWrite;
use crate::cache::{Fill, FillOutcome, Generation, Loaded, Tag};
use crate::codec::Codec;
use crate::error::Result;
use crate::key::Key;

impl<T: Serialize + DeserializeOwned + Send + Sync + 'static, C: Codec> Inner<T, C> {
    /// Stores what was loaded; `false` if it is not stored, since something was written or dropped meanwhile, or absence is
    /// not remembered.
    pub(super) async fn fill(
        &self,
        key: &Key,
        mut leased: Leased,
        value: Option<&T>,
        loaded: &Loaded<T>,
        took: Duration,
    ) -> Result<bool> {
        let Some(life) = self.life_of(loaded.ttl, value.is_some())? else {
            return Ok(false);
        };
        if !loaded.tags.is_empty() {
            let late = self.late_generations(&loaded.tags, took).await?;
            let Some(late) = late.into_iter().collect::<Option<Vec<_>>>() else {
                self.counts.fenced.one();
                return Ok(false);
            };
            leased.tags.extend(late);
        }
        let stamp = self.stamp(life, took, leased.namespace, leased.tags);
        let bytes = self.wire.encode(key, value, stamp, &*self.environment.random)?;
        let size = bytes.len() as u64;
        let fill = Fill::new(key.clone(), leased.token, bytes, self.policy.kept(life));
        let outcome = {
            let _own = OwnWrite::of(&self.told, std::slice::from_ref(key));
            self.ask(self.leases()?.fill(&[fill])).await?.pop()
        };
        leased.guard.settle(leased.token);
        let filled = outcome == Some(FillOutcome::Filled);
        if filled {
            self.counts.bytes_written.add(size);
        } else {
            self.counts.fenced.one();
        }
        Ok(filled)
    }

    /// Whether one of these generations is over. Costs no trip while the feed is up.
    pub(super) async fn is_dropped(&self, under: &[(Tag, Generation)]) -> bool {
        let Some(mirror) = &self.mirror else { return false };
        let tags: Vec<Tag> = under.iter().map(|(tag, _)| tag.clone()).collect();
        match self.ask(mirror.generations(&tags)).await {
            Ok(current) => under.iter().zip(current).any(|((_, before), now)| *before != now),
            Err(error) => {
                self.store_failed(&error);
                false
            }
        }
    }

    /// The generations of tags that are known only after the load, in their order; `None` in place of one that may have
    /// been dropped since the load began: it is not older than that.
    pub(in crate::cache) async fn late_generations(
        &self,
        tags: &[Tag],
        took: Duration,
    ) -> Result<Vec<Option<(Tag, Generation)>>> {
        let Some(mirror) = &self.mirror else {
            return Err(self.no_tags());
        };
        let asked_at = self.now();
        let generations = self.ask(mirror.ask(tags)).await?;
        let since = took.saturating_add(self.now().saturating_since(asked_at));
        let late = |(tag, (generation, age)): (&Tag, (Generation, Duration))| {
            (age > since).then(|| (tag.clone(), generation))
        };
        Ok(tags.iter().zip(generations).map(late).collect())
    }
}
