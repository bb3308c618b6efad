//! Fences.

use std::collections::BTreeMap;

use super::check::{Found, Step};
use super::{Entry, Violation};

/// They grow also over what a failover loses: they are made of the server's time.
pub(super) fn check(steps: &[Step<'_>], found: &mut Found) {
    let mut greatest: BTreeMap<&str, u64> = BTreeMap::new();
    for step in steps {
        if let Entry::Granted { lock, fence } = step.entry {
            let before = greatest.entry(lock).or_default();
            if fence <= before {
                found.violates(Violation::FenceWentBack(lock.clone(), *before, *fence));
            }
            *before = (*before).max(*fence);
        }
    }
}
