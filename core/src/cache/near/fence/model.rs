//! The fence under every interleaving, and every order of memory that the language allows: `scripts/loom`.
//!
//! The store is a number that a write sets from [`OLD`] to [`NEW`]; the engine holds one entry. Its key is in shard [`A`], and
//! may move to [`B`]. What must never be: an old entry that is readable once the news of the write has been dealt with.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicU64;
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{Epoch, Fence, Snapshot};
use crate::cache::store::Shard;

const OLD: u64 = 1;
const NEW: u64 = 2;

const A: Shard = Shard::new(0);
const B: Shard = Shard::new(1);

/// A value, and the epoch in which it was published.
type Entry = (u64, Epoch);

struct World {
    fence: Fence,
    store: AtomicU64,
    /// In which shard the key is: 0 for A.
    place: AtomicU64,
    engine: Mutex<Option<Entry>>,
}

/// How a reader publishes; the wrong ones show that the models can fail.
type Publish = fn(&World, Snapshot, u64);

impl World {
    fn new() -> Arc<Self> {
        let fence = Fence::default();
        fence.restored(A);
        fence.restored(B);
        let (store, place) = (AtomicU64::new(OLD), AtomicU64::new(0));
        Arc::new(Self { fence, store, place, engine: Mutex::new(None) })
    }

    fn put(&self, entry: Option<Entry>) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = entry;
    }

    /// As a store answers it.
    fn shard(&self) -> Shard {
        if self.place.load(Ordering::Acquire) == 0 { A } else { B }
    }

    /// A reader that finds nothing near, reads the store, and publishes.
    fn fill(&self, publish: Publish) {
        let snapshot = self.fence.snapshot("k", || self.shard());
        let value = self.store.load(Ordering::Acquire);
        publish(self, snapshot, value);
    }

    /// The entry, whatever its epoch.
    fn entry(&self) -> Option<Entry> {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) {
        self.store.store(NEW, Ordering::Release);
    }

    fn invalidated(&self) {
        self.fence.invalidate("k", || self.put(None));
    }

    /// As a hit is read.
    fn near(&self) -> Option<u64> {
        self.entry().filter(|(_, epoch)| self.fence.is_current(*epoch)).map(|(value, _)| value)
    }

    /// As a store does it: first the answer, then the loss, and only then it is read elsewhere.
    fn move_to_b(&self) {
        self.place.store(1, Ordering::Release);
        self.fence.lost(A);
        self.fence.restored(A);
    }

    fn assert_not_stale(&self) {
        assert_ne!(self.near(), Some(OLD), "a stale entry is readable");
    }
}

fn right(world: &World, snapshot: Snapshot, value: u64) {
    world.fence.publish(snapshot, |epoch| world.put(Some((value, epoch))));
}

/// Asks the fence, and puts the entry in when the lock is open again.
fn outside_the_lock(world: &World, snapshot: Snapshot, value: u64) {
    let mut granted = None;
    world.fence.publish(snapshot, |epoch| granted = Some(epoch));
    if let Some(epoch) = granted {
        world.put(Some((value, epoch)));
    }
}

/// Minds the news of keys, and takes the epoch as it is now instead of as it was.
fn in_the_wrong_epoch(world: &World, snapshot: Snapshot, value: u64) {
    let epoch = world.fence.epoch(snapshot.epoch.shard());
    world.fence.publish(Snapshot { epoch, ..snapshot }, |epoch| world.put(Some((value, epoch))));
}

/// Each of the steps in a thread of its own, and a look when all have ended. Two threads are tried in every way, three in
/// all with at most two preemptions: most faults show with fewer, and the rest would take hours.
fn race(steps: &[fn(&World, Publish)], publish: Publish) {
    let steps = steps.to_vec();
    let mut model = loom::model::Builder::new();
    model.preemption_bound = (steps.len() > 2).then_some(2);
    model.check(move || {
        let world = World::new();
        let threads: Vec<_> = steps
            .iter()
            .map(|step| {
                let (world, step) = (Arc::clone(&world), *step);
                thread::spawn(move || step(&world, publish))
            })
            .collect();
        for ended in threads.into_iter().map(thread::JoinHandle::join) {
            ended.expect("a thread of the model ends");
        }
        world.assert_not_stale();
    });
}

fn reader(world: &World, publish: Publish) {
    world.fill(publish);
}

/// A reader that finds the entry near later on, and puts it in again with its tags compared anew.
fn renewer(world: &World, publish: Publish) {
    world.fill(publish);
    let mark = world.fence.mark("k");
    let Some((value, epoch)) = world.entry() else { return };
    world.fence.publish(mark.within(epoch), |epoch| world.put(Some((value, epoch))));
}

/// The same, wrong: an invalidation after the entry was taken is ignored.
fn late_renewer(world: &World, publish: Publish) {
    world.fill(publish);
    let Some((value, epoch)) = world.entry() else { return };
    let mark = world.fence.mark("k");
    world.fence.publish(mark.within(epoch), |epoch| world.put(Some((value, epoch))));
}

/// A write and its invalidation. After it nothing older is answered, whatever the readers are doing.
fn writer(world: &World, _: Publish) {
    world.write();
    world.invalidated();
    world.assert_not_stale();
}

/// A write whose news was lost with the feed, before the loss was noticed.
fn missed(world: &World, _: Publish) {
    world.write();
    world.fence.lost(A);
    world.assert_not_stale();
    world.fence.restored(A);
    world.assert_not_stale();
}

/// A write while the feed is known to be away.
fn away(world: &World, _: Publish) {
    world.fence.lost(A);
    world.write();
    world.fence.restored(A);
    world.assert_not_stale();
}

/// A write at the other shard, after the key has moved there, whose news was lost with the feed of that one.
fn moved_and_missed(world: &World, _: Publish) {
    world.move_to_b();
    world.write();
    world.fence.lost(B);
    world.assert_not_stale();
}

/// A loss of the other shard, which is of no concern.
fn other_lost(world: &World, _: Publish) {
    world.fence.lost(B);
    world.fence.restored(B);
}

/// A reader that looks up the shard of its key once, and takes the epoch after that.
fn careless_reader(world: &World, publish: Publish) {
    let shard = world.shard();
    let snapshot = world.fence.snapshot("k", || shard);
    publish(world, snapshot, world.store.load(Ordering::Acquire));
}

/// A write that drops everything.
fn flusher(world: &World, _: Publish) {
    world.write();
    world.fence.flush();
    world.assert_not_stale();
    world.put(None);
}

#[test]
fn a_write_leaves_nothing_stale() {
    race(&[reader, writer], right);
    race(&[reader, reader, writer], right);
}

#[test]
fn a_write_that_is_missed_leaves_nothing_stale() {
    race(&[reader, missed], right);
    race(&[reader, away], right);
    race(&[reader, reader, missed], right);
}

#[test]
fn a_flush_leaves_nothing_stale() {
    race(&[reader, flusher], right);
    race(&[reader, reader, flusher], right);
}

#[test]
fn a_move_to_another_shard_leaves_nothing_stale() {
    race(&[reader, moved_and_missed], right);
    race(&[renewer, moved_and_missed], right);
}

#[test]
fn the_loss_of_another_shard_leaves_nothing_stale() {
    race(&[reader, writer, other_lost], right);
    race(&[reader, missed, other_lost], right);
}

#[test]
fn news_and_the_loss_of_the_feed_together_leave_nothing_stale() {
    race(&[reader, writer, missed], right);
    race(&[reader, flusher, away], right);
}

#[test]
fn an_entry_that_is_put_in_again_leaves_nothing_stale() {
    race(&[renewer, writer], right);
    race(&[renewer, missed], right);
    race(&[renewer, flusher], right);
    race(&[renewer, reader, writer], right);
}

#[test]
#[should_panic(expected = "a stale entry is readable")]
fn an_entry_that_is_taken_before_the_snapshot_is_found_out() {
    race(&[late_renewer, writer], right);
}

#[test]
#[should_panic(expected = "a stale entry is readable")]
fn a_fence_that_publishes_outside_its_lock_is_found_out() {
    race(&[reader, writer], outside_the_lock);
}

#[test]
#[should_panic(expected = "a stale entry is readable")]
fn a_fence_that_takes_the_epoch_late_is_found_out() {
    race(&[reader, missed], in_the_wrong_epoch);
}

#[test]
#[should_panic(expected = "a stale entry is readable")]
fn a_shard_that_is_looked_up_once_is_found_out() {
    race(&[careless_reader, moved_and_missed], right);
}

#[test]
#[should_panic(expected = "a stale entry is readable")]
fn a_fence_that_takes_the_epoch_late_is_found_out_by_a_flush() {
    race(&[reader, flusher], in_the_wrong_epoch);
}
