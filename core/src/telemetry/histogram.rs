//! Measurements, by size.

use std::fmt;
use std::time::Duration;

use super::{LabelValue, Metric};

/// A histogram with the values of its labels. It serves whichever recorder there is when something is recorded.
pub struct Histogram {
    #[cfg(feature = "metrics")]
    handle: super::cached::Cached<metrics::Histogram>,
}

impl Histogram {
    /// The histogram of this metric, with a value for each label in their order.
    #[cfg_attr(
        not(feature = "metrics"),
        expect(unused_variables, reason = "there is nothing to record with")
    )]
    pub fn new(metric: &Metric, labels: &[LabelValue<'_>]) -> Self {
        Self {
            #[cfg(feature = "metrics")]
            handle: super::cached::Cached::new(metric.key(labels)),
        }
    }

    /// Records a time, in seconds.
    #[cfg_attr(not(feature = "metrics"), expect(unused_variables, reason = "nothing records"))]
    pub fn record(&self, time: Duration) {
        #[cfg(feature = "metrics")]
        self.handle.with(|histogram| histogram.record(time.as_secs_f64()));
    }
}

impl fmt::Debug for Histogram {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Histogram")
    }
}
