//! The load of a batch, in a task of its own: the leases of its values, its loader, and storing what it answered.
//!
//! What another process is loading is waited for, while the rest is loaded. What has to be loaded all the same once that wait
//! is over is loaded together, in a further call.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;

use super::batch_leases::{Permits, Ready};
use super::chain::Chain;
use super::failure::Failure;
use super::fill::{Stored, ToStore};
use super::found::{Found, LeftOut};
use super::lease::Proof;
use super::lease_guard::LeaseGuard;
use super::plan::LoadPlan;
use super::single_flight::{Leader, Progress};
use super::{Loaded, Loader};
use crate::cache::read::Cached;
use crate::cache::store::LeaseToken;
use crate::codec::Codec;
use crate::key::Key;

/// One value of a batch, which this load leads.
pub(super) struct Led<I, T> {
    /// Where it comes among the others, when the loader is called.
    pub(super) place: usize,
    pub(super) id: I,
    pub(super) key: Key,
    pub(super) plan: LoadPlan<T>,
    pub(super) leader: Leader<T>,
}

/// Loads the values that a batch leads, and serves those who wait.
pub(super) async fn lead_many<T, C, I, E, F, L>(
    loader: Arc<Loader<T, C>>,
    led: Vec<Led<I, T>>,
    load: L,
    left_out: LeftOut,
    stored: watch::Sender<u64>,
    chain: Chain,
) where
    T: Cached,
    C: Codec,
    I: Clone + Eq + Hash + Send + Sync + 'static,
    L: FnOnce(Vec<I>) -> F + Clone + Send + 'static,
    F: Future<Output = Result<Vec<(I, Found<T, E>)>, E>> + Send + 'static,
    E: Send + Sync + 'static,
{
    let (ready, taken) = loader.ask_for_leases(led).await;
    let (mut loads, mut waits) = (FuturesUnordered::new(), FuturesUnordered::new());
    let group_of = move |ready| {
        let (stored, load, chain) = (stored.clone(), load.clone(), chain.clone());
        Group { ready, load, left_out, stored, chain }
    };
    if !ready.is_empty() {
        loads.push(loader.load_group(group_of(ready)));
    }
    waits.extend(taken.into_iter().map(|led| loader.wait_for_lease(led)));
    loop {
        tokio::select! {
            biased;
            Some(first) = waits.next() => {
                // Those whose waiting ends together are loaded together.
                let mut group: Vec<_> = first.into_iter().collect();
                while let Some(Some(next)) = waits.next().now_or_never() {
                    group.extend(next);
                }
                if !group.is_empty() {
                    loads.push(loader.load_group(group_of(group)));
                }
            }
            Some(()) = loads.next() => {}
            else => return,
        }
    }
}

/// Values that are loaded by one call.
struct Group<I, T, L> {
    ready: Vec<Ready<I, T>>,
    load: L,
    left_out: LeftOut,
    stored: watch::Sender<u64>,
    chain: Chain,
}

/// A value that was loaded, before it is stored.
struct Answered<T> {
    key: Key,
    leader: Leader<T>,
    end: Answer<T>,
    /// The lease, or what stands in for it.
    proof: Option<Proof>,
    maybe_stale: bool,
}

enum Answer<T> {
    Value(Option<Arc<T>>, Loaded<T>),
    LeftOut,
    Failed(Failure),
}

impl<T> Answered<T> {
    /// How its load ends. `maybe_stale`: something may have been written or invalidated since it was begun.
    fn progress(&self, maybe_stale: bool) -> Progress<T> {
        match &self.end {
            Answer::Value(value, _) if maybe_stale => self.leader.maybe_stale(value.clone()),
            Answer::Value(value, _) => Progress::Loaded(value.clone()),
            Answer::LeftOut => Progress::LeftOut,
            Answer::Failed(failure) => Progress::Failed(failure.clone()),
        }
    }
}

impl<T: Cached, C: Codec> Loader<T, C> {
    /// Loads values by one call of the loader, stores what may be, and serves those who wait.
    async fn load_group<I, E, F, L>(&self, group: Group<I, T, L>)
    where
        I: Clone + Eq + Hash + Send + Sync,
        L: FnOnce(Vec<I>) -> F,
        F: Future<Output = Result<Vec<(I, Found<T, E>)>, E>>,
        E: Send + Sync + 'static,
    {
        let Group { ready, load, left_out, stored, chain } = group;
        let (mut group, mut permits) = self.permits(ready).await;
        group.sort_by_key(|ready| ready.led.place);
        let Some(first) = group.first() else { return };
        let (number, end) = (first.led.leader.number(), self.end_of(&first.led.plan));
        // They are of one call.
        let call_end = first.led.plan.end;
        for ready in &mut group {
            ready.led.leader.begin();
        }
        let ids: Vec<I> = group.iter().map(|ready| ready.led.id.clone()).collect();
        let keys = group.iter().map(|ready| ready.led.key.clone()).collect();
        let begun = self.reader.now();
        let chain = chain.with(number, self.store_number(), keys);
        let loaded = self.run(|| load(ids), Some(&permits.guard), end, chain).await;
        let took = self.reader.now().saturating_since(begun);
        let mut found: HashMap<I, Found<T, E>> = match loaded {
            Ok(found) => found.into_iter().collect(),
            Err(failure) => {
                self.give_back(&mut permits.guard, Some(&failure)).await;
                for ready in group {
                    self.end_failed(ready.led, failure.clone());
                }
                return;
            }
        };
        let mut answered = Vec::with_capacity(group.len());
        let mut failed = self.no_leases();
        for Ready { led: Led { id, key, leader, plan, .. }, proof, maybe_stale, .. } in group {
            let end = match (found.remove(&id), left_out) {
                (Some(Found::Value(mut loaded)), _) => {
                    Answer::Value(loaded.value.take().map(Arc::new), loaded)
                }
                (Some(Found::Absent), _) | (None, LeftOut::Absent) => Answer::Value(None, Loaded::none()),
                (None, LeftOut::Unknown) => Answer::LeftOut,
                (Some(Found::Failed(error)), _) => {
                    self.reader.counts.load_failures.one();
                    let failure = Failure::loader(error);
                    self.remember(&key, &failure, plan.is_dispensable());
                    if let Some(token) = proof.as_ref().and_then(Proof::token) {
                        failed.join(permits.guard.split(token));
                    }
                    Answer::Failed(failure)
                }
            };
            if let Answer::Value(value, _) = &end {
                self.succeeded(&key, value.is_some());
                // Whoever waits asked before this. Whatever they asked after has voided the lease, or moved a generation.
                leader.detach();
            }
            answered.push(Answered { key, leader, end, proof, maybe_stale });
        }
        let fresh = {
            let storing = std::pin::pin!(self.store_group(&answered, (failed, &mut permits), &stored, took));
            let answer = || {
                for one in &answered {
                    one.leader.answer_early(one.progress(true));
                }
            };
            self.answering(storing, call_end, answer).await
        };
        for (answered, is_fresh) in answered.into_iter().zip(fresh) {
            let progress = answered.progress(!is_fresh);
            answered.leader.finish(progress);
        }
    }

    /// Stores what was loaded and may be, and gives the other leases back. Answers of each whether it is known that nothing was
    /// written or invalidated since its load began.
    async fn store_group(
        &self,
        answered: &[Answered<T>],
        (mut failed, permits): (LeaseGuard, &mut Permits),
        stored: &watch::Sender<u64>,
        took: Duration,
    ) -> Vec<bool> {
        let loader_failed = answered.iter().find_map(|answered| match &answered.end {
            Answer::Failed(failure) => Some(failure.clone()),
            _ => None,
        });
        self.give_back(&mut failed, loader_failed.as_ref()).await;
        let late = answered.iter().filter_map(|answered| match &answered.end {
            Answer::Value(_, loaded) => Some(loaded),
            _ => None,
        });
        let late = self.late_of(late, took).await;
        // Only what is stored by a lease proves that nothing was written meanwhile.
        let mut fresh: Vec<bool> =
            answered.iter().map(|answered| answered.proof.is_none() && !answered.maybe_stale).collect();
        let (mut entries, mut places): (Vec<ToStore>, Vec<usize>) = (Vec::new(), Vec::new());
        for (place, answered) in answered.iter().enumerate() {
            let (Answer::Value(value, loaded), Some(proof)) = (&answered.end, &answered.proof) else {
                continue;
            };
            if !loaded.store {
                continue;
            }
            // One that can't be stored is served all the same, and spoils none of the others.
            match self.batch_entry(&answered.key, proof, value.as_deref(), loaded, permits, &late, took) {
                Ok(Some(entry)) => {
                    entries.push(entry);
                    places.push(place);
                }
                Ok(None) => {}
                Err(error) => self.not_stored(&error),
            }
        }
        let outcomes = self.store_all(entries, &mut permits.guard).await;
        let mut unanswered = Vec::new();
        let mut is_any_proved = false;
        for (place, outcome) in places.into_iter().zip(outcomes) {
            let token = answered[place].proof.as_ref().and_then(Proof::token);
            match outcome {
                Stored::Yes => {
                    stored.send_modify(|stored| *stored += 1);
                    fresh[place] = token.is_some();
                    is_any_proved |= token.is_some();
                }
                Stored::Unanswered => unanswered.extend(token),
                Stored::Fenced | Stored::NotWanted => {}
            }
        }
        self.give_back_but(&mut permits.guard, &unanswered).await;
        if is_any_proved && self.is_invalidated(&permits.under()).await {
            fresh.fill(false);
        }
        fresh
    }

    /// Gives leases back but these, which their guard tries to give back once more.
    async fn give_back_but(&self, guard: &mut LeaseGuard, unanswered: &[LeaseToken]) {
        let mut others = self.no_leases();
        for token in unanswered {
            others.join(guard.split(*token));
        }
        self.give_back(guard, None).await;
    }

    /// Ends the load of one value that has failed.
    pub(super) fn end_failed<I>(&self, led: Led<I, T>, failure: Failure) {
        // Before those who wait are woken, so that they find it.
        self.remember(&led.key, &failure, led.plan.is_dispensable());
        led.leader.finish(Progress::Failed(failure));
    }
}
