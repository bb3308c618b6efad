//! Generations on a Cluster: three copies of each, of which two decide.
//!
//! Any two majorities have a copy in common, so that a bump which is done is seen by every later read, with any one master away.

use std::array::from_fn;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use redis::Value;
use stanchion::cache::{Generation, Shard, Tag};
use stanchion::{Effect, Error, Result};

use super::commands::CacheCommands;
use super::replies;
use super::verdict::{Reading, Verdict, next, verdict};
use crate::command::{Call, Routed, Scripts, Step};
use crate::copies::{COPIES, Group, MAJORITY};
use crate::error::{self, Access};
use crate::feed::Feed;
use crate::shared::Shared;

/// How often a bump is tried while others bump the same tag. Each time that with the greatest number is done; those with equal
/// ones are moved apart by chance.
const ATTEMPTS: u32 = 64;

/// What is waited for those that are slow once enough have answered: this part of the deadline.
const GRACE: u32 = 4;

/// What the copies of one tag have answered so far.
type Answers<R> = [Option<Result<R>>; COPIES];

/// A generation that is to be written: the numbers from the first to the last are the caller's.
#[derive(Debug, Clone, Copy)]
struct Raise {
    first: u64,
    last: u64,
}

/// Reads and bumps the generations of tags by their copies.
#[derive(Debug)]
pub(super) struct Quorum<'a> {
    pub(super) shared: &'a Arc<Shared>,
    pub(super) feed: &'a Feed,
    pub(super) commands: &'a CacheCommands,
    pub(super) call: Call,
    pub(super) deadline: Duration,
}

impl Quorum<'_> {
    /// The generations, in the order of the tags, with their ages.
    pub(super) async fn read(&self, tags: &[Tag]) -> Result<Vec<(Generation, Duration)>> {
        let started = self.shared.context.environment.clock.now();
        // Whoever keeps what is read here relies on the copies whose changes it receives.
        let wanted: Vec<_> = tags.iter().map(|tag| self.feed.covered(tag.key())).collect();
        let build = |tag: usize, copy: usize, step| self.commands.read_copy(&tags[tag], copy, step);
        let will_do = |tag: usize, answers: &Answers<Reading>| {
            let mut copies = wanted[tag].iter().zip(answers);
            copies.all(|(is_wanted, answer)| !is_wanted || answer.is_some())
                && matches!(verdict(&answered(answers)), Verdict::Settled(..))
        };
        let readings = self.ask(tags, started, build, replies::reading, will_do).await;
        let (mut generations, mut unsettled, mut behind) = (Vec::new(), Vec::new(), Vec::new());
        for (place, answers) in readings.iter().enumerate() {
            match verdict(&answered(answers)) {
                Verdict::Unknown => return Err(self.failed(answers, Effect::NotApplied)),
                Verdict::Settled(generation, age) => {
                    if answered(answers).iter().any(|one| one.generation < generation.get()) {
                        behind.push((place, generation.get()));
                    }
                    generations.push((generation, age));
                }
                Verdict::Unsettled(generation, age) => {
                    unsettled.push((place, generation.get()));
                    generations.push((generation, age));
                }
            }
            let is_read: [bool; COPIES] = from_fn(|copy| matches!(answers[copy], Some(Ok(_))));
            self.feed.read_from(tags[place].key(), is_read);
        }
        for answers in self.raise_all(tags, &unsettled, started).await {
            // One that is greater already does as well.
            if answered(&answers).len() < MAJORITY {
                return Err(self.failed(&answers, Effect::Unknown));
            }
        }
        // A copy that has missed a bump is brought up, so that the others are not the only ones for long. If that fails the next
        // read does it.
        let _ = self.raise_all(tags, &behind, started).await;
        Ok(generations)
    }

    /// Raises the copies of the tags at these places to these numbers, where they are less.
    async fn raise_all(
        &self,
        tags: &[Tag],
        places: &[(usize, u64)],
        started: stanchion::time::Monotonic,
    ) -> Vec<Answers<bool>> {
        if places.is_empty() {
            return Vec::new();
        }
        let raised: Vec<_> = places.iter().map(|(place, _)| tags[*place].clone()).collect();
        self.raise(&raised, started, |tag| Raise { first: places[tag].1, last: places[tag].1 }).await
    }

    /// Makes the generations greater; answers the new ones in the order of the tags. Of a tag that is given twice each is greater than
    /// the one before.
    pub(super) async fn bump(&self, tags: &[Tag]) -> Result<Vec<Generation>> {
        let started = self.shared.context.environment.clock.now();
        let mut times: HashMap<&Tag, u64> = HashMap::new();
        for tag in tags {
            *times.entry(tag).or_default() += 1;
        }
        let mut open: Vec<Tag> = times.keys().map(|tag| (*tag).clone()).collect();
        let mut done: HashMap<Tag, u64> = HashMap::new();
        for attempt in 0..ATTEMPTS {
            let wrote = if attempt == 0 { Effect::NotApplied } else { Effect::Unknown };
            let build = |tag: usize, copy: usize, step| self.commands.read_copy(&open[tag], copy, step);
            let readings = self.ask(&open, started, build, replies::reading, |_, _| true).await;
            let mut firsts = Vec::new();
            for answers in &readings {
                let readings = answered(answers);
                if readings.len() < MAJORITY {
                    return Err(self.failed(answers, wrote));
                }
                firsts.push(next(&readings).saturating_add(self.apart(attempt)?));
            }
            let raise = |tag: usize| {
                let count = times.get(&open[tag]).copied().unwrap_or(1);
                Raise { first: firsts[tag], last: firsts[tag].saturating_add(count - 1) }
            };
            let raised = self.raise(&open, started, raise).await;
            let mut again = Vec::new();
            for ((tag, first), answers) in open.iter().zip(&firsts).zip(&raised) {
                let answered = answered(answers);
                if answered.iter().filter(|is_raised| **is_raised).count() >= MAJORITY {
                    done.insert(tag.clone(), *first);
                } else if answered.len() < MAJORITY {
                    return Err(self.failed(answers, Effect::Unknown));
                } else {
                    // Somebody else was quicker with as great a number at some.
                    again.push(tag.clone());
                }
            }
            if again.is_empty() {
                let mut next = |tag: &Tag| {
                    let generation = done.get_mut(tag)?;
                    *generation += 1;
                    Some(Generation::new(*generation - 1))
                };
                let made = tags.iter().map(|tag| next(tag).ok_or_else(|| self.call.unexpected()));
                return made.collect();
            }
            open = again;
        }
        Err(self.timed_out().with_effect(Effect::Unknown))
    }

    /// So that those who were in each other's way are less so the next time.
    fn apart(&self, attempt: u32) -> Result<u64> {
        let mut random = [0; 8];
        self.shared.context.environment.random.fill(&mut random)?;
        Ok(u64::from_le_bytes(random) % (1 << (2 * attempt).min(12)))
    }

    async fn raise(
        &self,
        tags: &[Tag],
        started: stanchion::time::Monotonic,
        raise: impl Fn(usize) -> Raise,
    ) -> Vec<Answers<bool>> {
        let build = |tag: usize, copy: usize, step| {
            let Raise { first, last } = raise(tag);
            self.commands.raise_copy(&tags[tag], copy, first, last, step)
        };
        self.ask(tags, started, build, replies::raised, |_, answers| answers.iter().all(Option::is_some))
            .await
    }

    /// One script on each copy of each tag, one write per shard. Ends when a majority has answered and that will do, or the others
    /// take too long.
    async fn ask<R>(
        &self,
        tags: &[Tag],
        started: stanchion::time::Monotonic,
        build: impl Fn(usize, usize, Step) -> Routed,
        read: fn(Value) -> Option<R>,
        will_do: impl Fn(usize, &Answers<R>) -> bool,
    ) -> Vec<Answers<R>> {
        let clock = &self.shared.context.environment.clock;
        let left = self.deadline.saturating_sub(clock.now().saturating_since(started));
        let call = self.call.within(left);
        let mut parts: BTreeMap<Shard, Vec<(usize, usize)>> = BTreeMap::new();
        for (place, tag) in tags.iter().enumerate() {
            for (copy, slot) in Group::of(tag.key()).slots().into_iter().enumerate() {
                parts.entry(self.shared.client.shard_of(|| slot)).or_default().push((place, copy));
            }
        }
        let build = &build;
        let mut pending: FuturesUnordered<_> = parts
            .into_values()
            .map(|part| async move {
                let scripts = Scripts::many(part.len(), |step: Step| {
                    let (place, copy) = part[step.index];
                    build(place, copy, step)
                });
                let replies = self.shared.client.run_all(call, scripts).await;
                (part, replies)
            })
            .collect();
        let mut answers: Vec<Answers<R>> = tags.iter().map(|_| from_fn(|_| None)).collect();
        let mut enough_at = None;
        loop {
            let next = match enough_at {
                None => pending.next().await,
                Some(at) => {
                    let waited = clock.now().saturating_since(at);
                    let rest = (self.deadline / GRACE).saturating_sub(waited);
                    tokio::time::timeout(rest, pending.next()).await.unwrap_or_default()
                }
            };
            let Some((part, replies)) = next else { return answers };
            match replies {
                Ok(replies) => {
                    for ((place, copy), reply) in part.into_iter().zip(replies) {
                        let reply = reply.and_then(|reply| read(reply).ok_or_else(|| call.unexpected()));
                        answers[place][copy] = Some(reply);
                    }
                }
                Err(error) => {
                    for (place, copy) in part {
                        answers[place][copy] = Some(Err(error.clone()));
                    }
                }
            }
            let has_enough =
                |answers: &Answers<R>| answers.iter().flatten().filter(|one| one.is_ok()).count() >= MAJORITY;
            if answers.iter().all(has_enough) {
                enough_at.get_or_insert_with(|| clock.now());
                if answers.iter().enumerate().all(|(place, answers)| will_do(place, answers)) {
                    return answers;
                }
            }
        }
    }

    /// Why a majority has not answered.
    fn failed<R>(&self, answers: &Answers<R>, effect: Effect) -> Error {
        let first = answers.iter().flatten().find_map(|answer| answer.as_ref().err().cloned());
        first.unwrap_or_else(|| self.timed_out()).with_effect(effect)
    }

    fn timed_out(&self) -> Error {
        self.call.named(error::timed_out(self.deadline, Access::Write))
    }
}

/// Those that have answered.
fn answered<R: Copy>(answers: &Answers<R>) -> Vec<R> {
    answers.iter().flatten().filter_map(|answer| answer.as_ref().ok()).copied().collect()
}
