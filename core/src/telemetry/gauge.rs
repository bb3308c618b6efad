//! How many of something there are now.

use std::fmt;

use super::{LabelValue, Metric};

/// How many of something there are in this process. All gauges of one metric with the same values of its labels are one, so
/// that several façades add up. It counts also while there is no recorder; one that is installed later sees the number at
/// its next change, or when [`describe`](super::describe) is called.
#[derive(Clone)]
pub struct Gauge {
    #[cfg(feature = "metrics")]
    shared: std::sync::Arc<exported::Shared>,
}

/// What somebody contributes to a [`Gauge`], until this is dropped.
#[derive(Debug)]
#[must_use = "it is counted until this is dropped"]
pub struct Tracked {
    gauge: Gauge,
    count: usize,
}

impl Gauge {
    /// The gauge of this metric, with a value for each label in their order.
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "there is nothing to count with"))]
    pub fn new(metric: &Metric, labels: &[LabelValue<'_>]) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            shared: exported::shared(metric.key(labels)),
        }
    }

    /// Counts one more until the answer is dropped.
    pub fn track(&self) -> Tracked {
        let mut one = self.share();
        one.set(1);
        one
    }

    /// A share of the number: none, until it is [set](Tracked::set).
    pub fn share(&self) -> Tracked {
        Tracked { gauge: self.clone(), count: 0 }
    }

    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, clippy::unused_self, reason = "nothing counts")
    )]
    fn add(&self, n: isize) {
        #[cfg(feature = "metrics")]
        self.shared.add(n);
    }
}

impl Tracked {
    /// So many are counted from now on.
    pub fn set(&mut self, count: usize) {
        if count != self.count {
            // No count of things in memory is beyond the half of what fits.
            self.gauge.add(count.wrapping_sub(self.count).cast_signed());
            self.count = count;
        }
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.set(0);
    }
}

impl fmt::Debug for Gauge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Gauge")
    }
}

#[cfg(feature = "metrics")]
pub(super) use self::exported::export_all;

#[cfg(feature = "metrics")]
mod exported {
    use std::sync::atomic::{AtomicIsize, Ordering};
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

    use metrics::Key;

    use crate::telemetry::cached::Cached;

    /// The number, and where it is shown.
    pub(super) struct Shared {
        number: AtomicIsize,
        handle: Cached<metrics::Gauge>,
    }

    impl Shared {
        pub(super) fn add(&self, n: isize) {
            self.number.fetch_add(n, Ordering::AcqRel);
            self.export();
        }

        /// Whoever shows a number last has seen that it is still the number: two that add at once can't leave the older.
        #[expect(clippy::cast_precision_loss, reason = "nobody has 2^52 of anything")]
        fn export(&self) {
            let mut number = self.number.load(Ordering::Acquire);
            loop {
                self.handle.with(|gauge| gauge.set(number as f64));
                match self.number.load(Ordering::Acquire) {
                    same if same == number => return,
                    other => number = other,
                }
            }
        }
    }

    /// Every gauge that somebody holds.
    static ALL: Mutex<Vec<Weak<Shared>>> = Mutex::new(Vec::new());

    fn all() -> MutexGuard<'static, Vec<Weak<Shared>>> {
        ALL.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The one gauge with this key.
    pub(super) fn shared(key: Key) -> Arc<Shared> {
        let mut all = all();
        if let Some(shared) = all.iter().filter_map(Weak::upgrade).find(|shared| *shared.handle.key() == key)
        {
            return shared;
        }
        all.retain(|gauge| gauge.strong_count() > 0);
        let shared = Arc::new(Shared { number: AtomicIsize::new(0), handle: Cached::new(key) });
        all.push(Arc::downgrade(&shared));
        shared
    }

    /// Shows every number to the current recorder.
    pub(in crate::telemetry) fn export_all() {
        // Not under the lock: a recorder is a stranger's code.
        let gauges: Vec<_> = all().iter().filter_map(Weak::upgrade).collect();
        for gauge in gauges {
            gauge.export();
        }
    }
}
