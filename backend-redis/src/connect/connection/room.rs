//! The room that queues keep for what may come next: what a burst has taken is given back when it is over.

use std::collections::VecDeque;

/// Room for so many is never given back.
pub(super) const KEPT: usize = 1_024;

/// Whether a queue of this length and capacity has more room than it is worth, and how much it keeps. So much is given back
/// at once that the work for each request, over all of them, stays the same.
fn kept(length: usize, capacity: usize) -> Option<usize> {
    (capacity > KEPT && length < capacity / 8).then(|| KEPT.max(2 * length))
}

pub(super) fn shrink<T>(queue: &mut VecDeque<T>) {
    if let Some(kept) = kept(queue.len(), queue.capacity()) {
        queue.shrink_to(kept);
    }
}

pub(super) fn shrink_vec<T>(list: &mut Vec<T>) {
    if let Some(kept) = kept(list.len(), list.capacity()) {
        list.shrink_to(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_forgotten_and_what_is_in_use_stays() {
        let mut queue: VecDeque<u64> = (0..60_000).collect();
        shrink(&mut queue);
        assert!(queue.capacity() >= 60_000);
        while queue.len() > 10 {
            queue.pop_front();
            shrink(&mut queue);
            assert!(queue.capacity() <= KEPT.max(9 * (queue.len() + 1)), "{}", queue.len());
        }
        assert_eq!(queue.iter().copied().collect::<Vec<_>>(), (59_990..60_000).collect::<Vec<_>>());
        let mut list: Vec<u64> = (0..4_000).collect();
        list.clear();
        shrink_vec(&mut list);
        assert!(list.capacity() <= KEPT);
    }
}
