//! Limits: the arithmetic, and what services call, on memory with a clock that the tests drive.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod addresses;
mod attempts;
mod failures;
mod giving_back;
mod in_flight;
mod model;
mod outage;
#[path = "../support/mod.rs"]
mod support;
mod usage;
mod waiting;

use std::time::Duration;

use stanchion::clock::ManualClock;
use stanchion::stores::Stores;

pub(crate) const MINUTE: Duration = Duration::from_mins(1);
pub(crate) const HOUR: Duration = Duration::from_hours(1);

pub(crate) fn manual() -> (ManualClock, Stores) {
    let (backend, clock) = support::manual();
    (clock, backend.stores())
}

/// Lets everything run that can.
pub(crate) async fn settled() {
    for _ in 0..50 {
        tokio::task::yield_now().await;
    }
}
