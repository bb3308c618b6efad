//! What locks measure, in this process. The names of locks may be ids, so there is no label of them.

use super::Metric;
use super::metric::catalogue;

catalogue! {
    REQUESTS = counter("stanchion_lock_requests_total", "Requests for a lock that have ended, and how.").labels(&["outcome"]);
    WAIT_SECONDS = seconds(
        "stanchion_lock_wait_seconds",
        "From the request until the lock was acquired."
    );
    WAITING = gauge("stanchion_lock_waiting", "Requests of this process that are waiting for a lock now.");
    HELD = gauge("stanchion_lock_held", "Locks that this process holds now.");
    HOLD_SECONDS = seconds(
        "stanchion_lock_hold_seconds",
        "From when a lock was acquired until it was given up or lost."
    );
    ENDED = counter("stanchion_lock_ended_total", "Locks that are no longer held, and why.").labels(&["reason"]);
    RENEWAL_FAILURES = counter(
        "stanchion_lock_renewal_failures_total",
        "Renewals that the store did not answer; they are tried again while the lease lasts."
    );
}
