//! The generations of many tags, read together.

use std::collections::HashMap;

use super::Reader;
use crate::cache::store::{Generation, Tag};
use crate::error::Result;

/// Generations that were read.
#[derive(Debug, Default)]
pub(in crate::cache) struct Generations(HashMap<Tag, Generation>);

impl FromIterator<(Tag, Generation)> for Generations {
    fn from_iter<I: IntoIterator<Item = (Tag, Generation)>>(generations: I) -> Self {
        Self(generations.into_iter().collect())
    }
}

impl Generations {
    pub(in crate::cache) fn of(&self, tag: &Tag) -> Option<Generation> {
        self.0.get(tag).copied()
    }
}

impl<C> Reader<C> {
    /// The generations of these tags and of the namespace, in one trip for those that are not known.
    pub(in crate::cache) async fn generations_of<'a>(
        &self,
        tags: impl Iterator<Item = &'a Tag>,
    ) -> Result<Generations> {
        let Some(generations) = &self.generations else {
            return Ok(Generations::default());
        };
        let mut all: Vec<Tag> = tags.cloned().chain([self.namespace_tag.clone()]).collect();
        all.sort_unstable();
        all.dedup();
        let read = generations.generations(&all).await?;
        Ok(all.into_iter().zip(read).collect())
    }

    /// Tags with their generations, the namespace's last.
    pub(in crate::cache) fn stamped(
        &self,
        known: &Generations,
        mut tags: Vec<Tag>,
    ) -> Vec<(Tag, Generation)> {
        if self.generations.is_none() {
            return Vec::new();
        }
        tags.push(self.namespace_tag.clone());
        tags.into_iter().filter_map(|tag| known.of(&tag).map(|generation| (tag, generation))).collect()
    }
}
