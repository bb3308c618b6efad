use std::cell::Cell;

use super::*;

const A: Shard = Shard::new(1);
const B: Shard = Shard::new(2);

/// Whether what is read from now on could be published.
fn is_up(fence: &Fence, shard: Shard) -> bool {
    fence.publish(fence.snapshot("up", || shard), |_| ())
}

#[test]
fn what_was_read_before_an_invalidation_is_refused() {
    let fence = Fence::default();
    fence.restored(A);
    let (before, other) = (fence.snapshot("a", || A), fence.snapshot("a", || A));
    assert!(fence.publish(other, |_| ()));
    fence.invalidate("a", || ());
    assert!(!fence.publish(before, |_| ()));
    let after = fence.snapshot("a", || A);
    assert!(fence.publish(after, |_| ()));
}

#[test]
fn what_was_read_in_another_epoch_or_while_the_feed_was_away_is_refused() {
    let fence = Fence::default();
    assert!(!is_up(&fence, A));
    let away = fence.snapshot("a", || A);
    fence.restored(A);
    assert!(!fence.publish(away, |_| ()));
    let up = fence.snapshot("a", || A);
    let mut first = None;
    assert!(fence.publish(up, |epoch| first = Some(epoch)));
    assert!(first.is_some_and(|epoch| fence.is_current(epoch)));
    assert!(fence.lost(A));
    assert!(!fence.lost(A), "it was away already");
    assert!(first.is_some_and(|epoch| !fence.is_current(epoch)));
    assert!(!fence.publish(up, |_| ()));
    let away = fence.snapshot("a", || A);
    assert!(!fence.publish(away, |_| ()));
    fence.restored(A);
    assert!(first.is_some_and(|epoch| !fence.is_current(epoch)));
    assert!(!fence.publish(up, |_| ()) && !fence.publish(away, |_| ()));
    let up = fence.snapshot("a", || A);
    fence.flush();
    assert!(!fence.publish(up, |_| ()));
    assert!(is_up(&fence, A));
}

#[test]
fn the_loss_of_a_shard_is_of_no_concern_to_another() {
    let fence = Fence::default();
    fence.restored(A);
    fence.restored(B);
    let (of_a, of_b) = (fence.snapshot("a", || A), fence.snapshot("b", || B));
    let mut published = None;
    assert!(fence.publish(of_b, |epoch| published = Some(epoch)));
    fence.lost(A);
    fence.restored(A);
    fence.lost(A);
    assert!(!fence.publish(of_a, |_| ()) && fence.publish(of_b, |_| ()));
    assert!(published.is_some_and(|epoch| fence.is_current(epoch)));
    assert!(!is_up(&fence, A) && is_up(&fence, B));
    fence.flush();
    assert!(published.is_some_and(|epoch| !fence.is_current(epoch)));
    assert!(!is_up(&fence, A) && is_up(&fence, B), "a flush leaves up what is up");
}

#[test]
fn a_key_that_moves_during_the_snapshot_is_of_where_it_is_then() {
    let fence = Fence::default();
    fence.restored(A);
    fence.restored(B);
    let asked = Cell::new(0);
    let moving = || {
        asked.set(asked.get() + 1);
        if asked.get() == 1 { A } else { B }
    };
    let moved = fence.snapshot("a", moving);
    fence.lost(A);
    let mut shard = None;
    assert!(fence.publish(moved, |epoch| shard = Some(epoch.shard())));
    assert_eq!(shard, Some(B));
    // Never twice at the same place: nothing is published.
    let unsteady = || {
        asked.set(asked.get() + 1);
        if asked.get() % 2 == 0 { A } else { B }
    };
    fence.restored(A);
    assert!(!fence.publish(fence.snapshot("a", unsteady), |_| ()));
}
