//! Permission to store what a batch loads: leases, asked for together, or what was there on a store without leases.

use std::time::Duration;

use super::batch_load::Led;
use super::failure::Failure;
use super::fill::{ToStore, new_token, unchanged};
use super::lease::{Answered, Leased, Permission, Proof};
use super::lease_guard::LeaseGuard;
use super::plan::{Decision, LoadKind, Storing};
use super::single_flight::Progress;
use super::{Loaded, Loader};
use crate::cache::read::{Before, Cached, Generations, is_callers};
use crate::cache::store::{CacheLeases, Fetched, Generation, LeaseRequest, Tag};
use crate::cache::wire::Stamp;
use crate::codec::Codec;
use crate::error::{Error, Result};
use crate::key::Key;

/// A value that is to be loaded now.
pub(super) struct Ready<I, T> {
    pub(super) led: Led<I, T>,
    /// By what it may be stored, if it may.
    pub(super) proof: Option<Proof>,
    guard: Option<LeaseGuard>,
    /// Others may have written since it was begun, and nobody can tell.
    pub(super) maybe_stale: bool,
}

impl<I, T> Ready<I, T> {
    const fn not_stored(led: Led<I, T>, maybe_stale: bool) -> Self {
        Self { led, proof: None, guard: None, maybe_stale }
    }
}

/// What the values of one call of a loader are stored by.
pub(super) struct Permits {
    generations: Generations,
    pub(super) guard: LeaseGuard,
}

impl Permits {
    /// All the generations that were known before the load.
    pub(super) fn under(&self) -> Vec<(Tag, Generation)> {
        self.generations.all()
    }
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// No leases yet.
    pub(super) fn no_leases(&self) -> LeaseGuard {
        LeaseGuard::of(self.reader.gate.store(), &self.reader.environment.tasks, &[])
    }

    /// Asks for the leases of a batch in one go. Answers what is to be loaded now, and what another process loads; the rest is
    /// answered for already.
    pub(super) async fn ask_for_leases<I>(&self, led: Vec<Led<I, T>>) -> (Vec<Ready<I, T>>, Vec<Led<I, T>>) {
        let (mut ready, mut ask) = (Vec::new(), Vec::new());
        for led in led {
            match led.plan.storing {
                Storing::Yes => ask.push(led),
                other => ready.push(Ready::not_stored(led, other == Storing::NewerSchema)),
            }
        }
        let mut taken = Vec::new();
        if !ask.is_empty() {
            match self.reader.gate.store().leases() {
                Some(leases) => self.fetch_all(leases, ask, &mut ready, &mut taken).await,
                None => self.look_again(ask, &mut ready).await,
            }
        }
        (ready, taken)
    }

    async fn fetch_all<I>(
        &self,
        leases: &dyn CacheLeases,
        led: Vec<Led<I, T>>,
        ready: &mut Vec<Ready<I, T>>,
        taken: &mut Vec<Led<I, T>>,
    ) {
        let (reader, mut requests, mut asked) = (&self.reader, Vec::new(), Vec::new());
        for mut led in led {
            match new_token(&*reader.environment.random) {
                Ok(token) => {
                    led.leader.begin();
                    requests.push(self.request(&led.key, token, &led.plan, led.plan.present, false));
                    asked.push((Before { again: led.plan.present, ..reader.before(&led.key) }, token, led));
                }
                Err(error) => self.end_failed(led, Failure::Store(error)),
            }
        }
        let mut guard = LeaseGuard::of(reader.gate.store(), &reader.environment.tasks, &requests);
        let ask = |part: Vec<LeaseRequest>| async move { leases.fetch(&part).await };
        let failed = |error: &Error| reader.gate.failed_unless_callers(error);
        let answers = reader.gate.ask_each(requests, |request| &request.key, ask, failed).await;
        for ((before, token, led), answer) in asked.into_iter().zip(answers) {
            let answer = match answer {
                Ok(answer) => answer,
                Err(error) => {
                    guard.refused(token, &error);
                    ready.extend(self.unanswered(led, error));
                    continue;
                }
            };
            if !matches!(answer, Fetched::Leased { .. }) {
                guard.settle(token);
            }
            match self.answered(&led.key, &led.plan, answer, before).await {
                Ok(Answered::Granted) => ready.push(Ready {
                    led,
                    proof: Some(Proof::Lease(token)),
                    guard: Some(guard.split(token)),
                    maybe_stale: false,
                }),
                Ok(Answered::Not(permission)) => ready.extend(self.settled(led, permission)),
                Ok(Answered::Again(Some(remaining))) if led.plan.kind == LoadKind::Background => {
                    ready.extend(self.settled(led, Permission::Taken(remaining)));
                }
                Ok(Answered::Again(_)) => taken.push(led),
                Err(error) => self.end_failed(led, Failure::Store(error)),
            }
        }
    }

    /// On a store without leases: what is there before the load.
    async fn look_again<I>(&self, mut led: Vec<Led<I, T>>, ready: &mut Vec<Ready<I, T>>) {
        let reader = &self.reader;
        let snapshot = |led: &Led<I, T>| {
            let writes = self.in_flight.writes.as_ref()?;
            Some(writes.snapshot(reader.identifier(&led.key)))
        };
        // Before the store is read: a change by this process is seen from now on.
        let snapshots: Vec<_> = led.iter().map(snapshot).collect();
        let before = |led: &Led<I, T>| Before { again: led.plan.present, ..reader.before(&led.key) };
        let befores: Vec<Before> = led.iter().map(before).collect();
        for led in &mut led {
            led.leader.begin();
        }
        let keys: Vec<Key> = led.iter().map(|led| led.key.clone()).collect();
        let store = reader.gate.store();
        let failed = |error: &Error| reader.gate.failed_unless_callers(error);
        let ask = |part: Vec<Key>| async move { store.get_many(&part).await };
        let found = reader.gate.values_each(keys, ask, failed).await;
        for (((led, found), snapshot), before) in led.into_iter().zip(found).zip(snapshots).zip(befores) {
            let found = match found {
                Ok(found) => found,
                Err(error) => {
                    ready.extend(self.unanswered(led, error));
                    continue;
                }
            };
            match self.decision(&led.key, &led.plan, found.clone(), before).await {
                Ok(Decision::Load) => {
                    let proof = Some(Proof::Unchanged(unchanged(found), snapshot));
                    ready.push(Ready { led, proof, guard: None, maybe_stale: false });
                }
                Ok(Decision::Serve(value)) => ready.extend(self.settled(led, Permission::Needless(value))),
                Ok(Decision::LeaveAlone) => ready.extend(self.settled(led, Permission::Refused(None))),
                Err(error) => self.end_failed(led, Failure::Store(error)),
            }
        }
    }

    /// The store did not answer for this one.
    fn unanswered<I>(&self, led: Led<I, T>, error: Error) -> Option<Ready<I, T>> {
        if is_callers(&error) || self.reader.policy.fail_closed {
            self.end_failed(led, Failure::Store(error));
            return None;
        }
        self.settled(led, Permission::Refused(Some(error)))
    }

    /// What is to be loaded without permission to store it; nothing, if it is answered for.
    fn settled<I>(&self, led: Led<I, T>, permission: Permission<T>) -> Option<Ready<I, T>> {
        match permission {
            Permission::Needless(value) => {
                let progress = led.leader.maybe_stale(value);
                led.leader.finish(progress);
            }
            Permission::Failed(failure) => self.end_failed(led, failure),
            Permission::Taken(remaining) => {
                self.loads_elsewhere(&led.key, remaining);
                led.leader.finish(Progress::Ended);
            }
            // What can't be stored is loaded for nobody.
            Permission::Refused(_) if led.plan.kind == LoadKind::Background => {
                self.back_off(&led.key);
                led.leader.finish(Progress::Ended);
            }
            Permission::Refused(why) => return Some(Ready::not_stored(led, why.is_none())),
            Permission::Unleased | Permission::Granted(_) => return Some(Ready::not_stored(led, true)),
        }
        None
    }

    /// Waits for the load of another process.
    pub(super) async fn wait_for_lease<I>(&self, mut led: Led<I, T>) -> Option<Ready<I, T>> {
        match self.leased(&led.key, &led.plan, &mut led.leader, true).await {
            Ok(Leased::Granted(proof, guard)) => {
                Some(Ready { led, proof: Some(proof), guard: Some(guard), maybe_stale: false })
            }
            Ok(Leased::Not(permission)) => self.settled(led, permission),
            Err(error) => {
                self.end_failed(led, Failure::Store(error));
                None
            }
        }
    }

    /// The generations from before the load, of what may be stored. What would be stored without one of them is not.
    pub(super) async fn permits<I>(&self, mut group: Vec<Ready<I, T>>) -> (Vec<Ready<I, T>>, Permits) {
        let reader = &self.reader;
        let mut permits = Permits { generations: Generations::default(), guard: self.no_leases() };
        group.iter_mut().filter_map(|ready| ready.guard.take()).for_each(|guard| permits.guard.join(guard));
        let storable = group.iter().filter(|ready| ready.proof.is_some());
        let tags_of = |ready: &Ready<I, T>| reader.tags_of(reader.identifier(&ready.led.key));
        if storable.clone().next().is_none() {
            return (group, permits);
        }
        let tags: Vec<Tag> = storable.flat_map(tags_of).collect();
        match reader.generations_at_hand(tags.iter()).await {
            Ok(generations) => permits.generations = generations,
            Err(error) => {
                self.give_back(&mut permits.guard, None).await;
                for ready in group {
                    self.end_failed(ready.led, Failure::Store(error.clone()));
                }
                return (Vec::new(), permits);
            }
        }
        let Some(why) = permits.generations.failure.clone() else {
            return (group, permits);
        };
        let (mut kept, mut unneeded) = (Vec::new(), self.no_leases());
        for mut ready in group {
            let stamped = || reader.stamped(&permits.generations, tags_of(&ready)).is_some();
            if ready.proof.is_none() || stamped() {
                kept.push(ready);
                continue;
            }
            // Nobody is to wait for it.
            if let Some(token) = ready.proof.take().as_ref().and_then(Proof::token) {
                unneeded.join(permits.guard.split(token));
            }
            kept.extend(self.unanswered(ready.led, why.clone()));
        }
        self.give_back(&mut unneeded, None).await;
        (kept, permits)
    }

    /// The generations of the tags that these values were given by their loader, those that may have been invalidated since
    /// it began left out.
    pub(super) async fn late_of<'a>(
        &self,
        loaded: impl Iterator<Item = &'a Loaded<T>>,
        took: Duration,
    ) -> Generations
    where
        T: 'a,
    {
        let mut tags: Vec<Tag> = loaded.flat_map(|value| &value.tags).cloned().collect();
        tags.sort_unstable();
        tags.dedup();
        if tags.is_empty() || self.reader.generations.is_none() {
            return Generations::default();
        }
        match self.late_each(&tags, took, |error| self.reader.gate.failed(error)).await {
            Ok(late) => late.into_iter().filter_map(Result::ok).flatten().collect(),
            Err(error) => {
                self.not_stored(&error);
                Generations::default()
            }
        }
    }

    /// A loaded value of a batch as it is to be stored; `None` if it is not.
    #[expect(clippy::too_many_arguments, reason = "what one value of a batch is made of")]
    pub(super) fn batch_entry(
        &self,
        key: &Key,
        proof: &Proof,
        value: Option<&T>,
        loaded: &Loaded<T>,
        permits: &Permits,
        late: &Generations,
        took: Duration,
    ) -> Result<Option<ToStore>> {
        let reader = &self.reader;
        if reader.generations.is_none() && !loaded.tags.is_empty() {
            return Err(reader.no_tags());
        }
        let Some(life) = reader.policy.life_of(loaded.ttl, value.is_some(), &*reader.environment.random)?
        else {
            return Ok(None);
        };
        let tags = reader.stamped(&permits.generations, reader.tags_of(reader.identifier(key)));
        let Some(mut tags) = tags else { return Ok(None) };
        let namespace = tags.pop().map(|(_, generation)| generation);
        for tag in &loaded.tags {
            let Some(generation) = late.of(tag) else {
                reader.counts.fenced.one();
                return Ok(None);
            };
            tags.push((tag.clone(), generation));
        }
        let kept = reader.policy.kept(life, value.is_some());
        let stamp = Stamp::new(reader.gate.store().now(), (life, kept), took, namespace, tags);
        let (bytes, proof) = (self.encoded(key, value, stamp)?, proof.clone());
        Ok(bytes.map(|bytes| ToStore { key: key.clone(), bytes, kept, proof }))
    }
}
