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
        "Sessions that this process ended. Those that time out end in the store, unseen."
    ).labels(&["service", "reason"]);
    LOOKUPS = counter(
        "stanchion_session_lookups_total",
        "Sessions that were looked up by a client's token, and what was found."
    ).labels(&["service", "operation", "outcome"]);
}
