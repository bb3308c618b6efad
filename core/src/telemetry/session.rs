//! What sessions measure, each under its service.
//!
//! How many sessions are live is not among it: each ends by itself at its timeout, in the store, and nobody sees that.

use super::Metric;
use super::metric::catalogue;

catalogue! {
    CREATED = counter("stanchion_session_created_total", "Sessions that were opened.").labels(&["service"]);
    REJECTED = counter(
        "stanchion_session_rejected_total",
        "Sessions that were refused, because the user had as many as allowed."
    ).labels(&["service"]);
    ENDED = counter(
        "stanchion_session_ended_total",
        "Sessions that this process ended, or found to have timed out where sessions are published."
    ).labels(&["service", "reason"]);
    LOOKUPS = counter(
        "stanchion_session_lookups_total",
        "Sessions that were looked up by a client's token, and what was found."
    ).labels(&["service", "operation", "outcome"]);
    NEAR_HITS = counter(
        "stanchion_session_near_hits_total",
        "Requests that were answered by a session kept in the process."
    ).labels(&["service"]);
    EVENTS = counter(
        "stanchion_session_events_total",
        "Events of sessions that were taken from an outbox, and what came of them."
    ).labels(&["service", "outcome"]);
    EVENT_DELAY = seconds(
        "stanchion_session_event_delay_seconds",
        "From what happened to a session, by the store's clock, until its event was published, by this process's."
    ).labels(&["service"]);
    OUTBOX_ENTRIES = gauge(
        "stanchion_session_outbox_entries",
        "Events of sessions that the last turn of this process found to wait, where it is the one that reaps."
    ).labels(&["service"]);
}
