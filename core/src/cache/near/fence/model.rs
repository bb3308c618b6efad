//! The fence under every interleaving, and every order of memory that the language allows: `scripts/loom`.
//!
//! The store is a number that a write sets from [`OLD`] to [`NEW`]; the engine holds one entry. What must never be: an
//! old entry that is readable once the news of the write has been dealt with.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;

use loom::sync::atomic::AtomicU64;
use loom::sync::{Arc, Mutex};
use loom::thread;

use super::{Fence, Snapshot};

const OLD: u64 = 1;
const NEW: u64 = 2;

struct World {
    fence: Fence,
    store: AtomicU64,
    engine: Mutex<Option<(u64, u64)>>,
}

/// How a reader publishes; the wrong ones show that the models can fail.
type Publish = fn(&World, Snapshot, u64);

impl World {
    fn new() -> Arc<Self> {
        let fence = Fence::default();
        fence.restored();
        Arc::new(Self { fence, store: AtomicU64::new(OLD), engine: Mutex::new(None) })
    }

    fn put(&self, entry: Option<(u64, u64)>) {
        *self.engine.lock().unwrap_or_else(PoisonError::into_inner) = entry;
    }

    /// A reader that finds nothing near, reads the store, and publishes.
    fn fill(&self, publish: Publish) {
        let snapshot = self.fence.snapshot("k");
        let value = self.store.load(Ordering::Acquire);
        publish(self, snapshot, value);
    }

    /// The entry, whatever its epoch.
    fn entry(&self) -> Option<(u64, u64)> {
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
        let epoch = self.fence.epoch()?;
        self.entry().filter(|(_, published)| *published == epoch).map(|(value, _)| value)
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
    let epoch = world.fence.epoch.load(Ordering::Acquire);
    world.fence.publish(Snapshot { epoch, ..snapshot }, |epoch| world.put(Some((value, epoch))));
}

/// Each of the steps in a thread of its own, and a look when all have ended. Two threads are tried in every way, three in
/// all with at most three preemptions: most faults show with fewer, and the rest would take hours.
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
    let snapshot = world.fence.snapshot("k");
    let entry = world.entry();
    world.fence.publish(snapshot, |_| world.put(entry));
}

/// The same, wrong: an invalidation after the entry was taken is ignored.
fn late_renewer(world: &World, publish: Publish) {
    world.fill(publish);
    let entry = world.entry();
    let snapshot = world.fence.snapshot("k");
    world.fence.publish(snapshot, |_| world.put(entry));
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
    world.fence.lost();
    world.assert_not_stale();
    world.fence.restored();
    world.assert_not_stale();
}

/// A write while the feed is known to be away.
fn away(world: &World, _: Publish) {
    world.fence.lost();
    world.write();
    world.fence.restored();
    world.assert_not_stale();
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
fn a_fence_that_takes_the_epoch_late_is_found_out_by_a_flush() {
    race(&[reader, flusher], in_the_wrong_epoch);
}
