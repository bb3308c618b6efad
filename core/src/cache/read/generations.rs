//! The generations of many tags, read together.

use std::collections::HashMap;

use super::{Reader, is_callers};
use crate::cache::near::{Dated, GenerationCache};
use crate::cache::store::{Generation, Tag};
use crate::error::{Error, Result};

/// Generations that were read, and why some could not be.
#[derive(Debug, Default)]
pub(in crate::cache) struct Generations {
    read: HashMap<Tag, Generation>,
    /// Of the tags that are missing.
    pub(in crate::cache) failure: Option<Error>,
}

impl FromIterator<(Tag, Generation)> for Generations {
    fn from_iter<I: IntoIterator<Item = (Tag, Generation)>>(generations: I) -> Self {
        Self { read: generations.into_iter().collect(), failure: None }
    }
}

impl Generations {
    /// All that were read.
    pub(in crate::cache) fn all(&self) -> Vec<(Tag, Generation)> {
        self.read.iter().map(|(tag, generation)| (tag.clone(), *generation)).collect()
    }

    pub(in crate::cache) fn of(&self, tag: &Tag) -> Option<Generation> {
        self.read.get(tag).copied()
    }
}

impl<C> Reader<C> {
    /// Where generations are cached, and these tags with that of the namespace, each once; `None` without generations.
    fn with_namespace<'a>(
        &self,
        tags: impl Iterator<Item = &'a Tag>,
    ) -> Option<(&GenerationCache, Vec<Tag>)> {
        let generations = self.generations.as_deref()?;
        let mut all: Vec<Tag> = tags.cloned().chain([self.namespace_tag.clone()]).collect();
        all.sort_unstable();
        all.dedup();
        Some((generations, all))
    }

    /// The generations of these tags and of the namespace, in one trip for those that are not known, as for a write: all of
    /// them, however long it takes.
    pub(in crate::cache) async fn generations_of<'a>(
        &self,
        tags: impl Iterator<Item = &'a Tag>,
    ) -> Result<Generations> {
        let Some((generations, all)) = self.with_namespace(tags) else {
            return Ok(Generations::default());
        };
        let read = generations.generations(&all).await?;
        Ok(all.into_iter().zip(read).collect())
    }

    /// As [`generations_of`](Self::generations_of), within the deadline of reads, and those that can be had.
    ///
    /// # Errors
    /// The caller's own.
    pub(in crate::cache) async fn generations_at_hand<'a>(
        &self,
        tags: impl Iterator<Item = &'a Tag>,
    ) -> Result<Generations> {
        let Some((generations, all)) = self.with_namespace(tags) else {
            return Ok(Generations::default());
        };
        let failed = |error: &Error| self.gate.failed_unless_callers(error);
        let ask = |missing| self.ask_generations(generations, missing, failed);
        let answers = generations.each(&all, ask).await;
        let mut read = Generations::default();
        for (tag, answer) in all.into_iter().zip(answers) {
            match answer {
                Ok(generation) => {
                    read.read.insert(tag, generation);
                }
                Err(error) if is_callers(&error) => return Err(error),
                Err(error) => read.failure = Some(error),
            }
        }
        Ok(read)
    }

    /// The generations of tags, in their order, those that are not known within the deadline of reads; an error if one can't be
    /// had.
    pub(in crate::cache) async fn all_generations(
        &self,
        generations: &GenerationCache,
        tags: &[Tag],
    ) -> Result<Vec<Generation>> {
        let ask = |missing| self.ask_generations(generations, missing, |_| ());
        generations.each(tags, ask).await.into_iter().collect()
    }

    /// The generations of tags, in their order, and their ages, as the store has them, within the deadline of reads. `failed` is
    /// called once for each shard that fails.
    pub(in crate::cache) async fn ask_generations(
        &self,
        generations: &GenerationCache,
        tags: Vec<Tag>,
        failed: impl Fn(&Error),
    ) -> Vec<Result<Dated>> {
        let ask = |part: Vec<Tag>| async move { generations.ask(&part).await };
        self.gate.ask_each(tags, Tag::key, ask, failed).await
    }

    /// Tags with their generations, the namespace's last; `None` if one is not known.
    pub(in crate::cache) fn stamped(
        &self,
        known: &Generations,
        mut tags: Vec<Tag>,
    ) -> Option<Vec<(Tag, Generation)>> {
        if self.generations.is_none() {
            return Some(Vec::new());
        }
        tags.push(self.namespace_tag.clone());
        tags.into_iter().map(|tag| known.of(&tag).map(|generation| (tag, generation))).collect()
    }
}
