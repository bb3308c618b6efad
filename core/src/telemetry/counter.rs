//! A number that only grows.

use std::fmt;

use super::{LabelValue, Metric};

/// A counter with the values of its labels. It serves whichever recorder there is when it counts.
pub struct Counter {
    #[cfg(feature = "metrics")]
    handle: super::cached::Cached<metrics::Counter>,
}

impl Counter {
    /// The counter of this metric, with a value for each label in their order.
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "there is nothing to count with"))]
    pub fn new(metric: &Metric, labels: &[LabelValue<'_>]) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            handle: super::cached::Cached::new(metric.key(labels)),
        }
    }

    /// Counts one.
    pub fn one(&self) {
        self.add(1);
    }

    /// Counts this many.
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "nothing counts"))]
    pub fn add(&self, n: u64) {
        #[cfg(feature = "metrics")]
        self.handle.with(|counter| counter.increment(n));
    }
}

impl fmt::Debug for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Counter")
    }
}
