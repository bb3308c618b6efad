//! What tokens measure, each under its service.

use super::Metric;
use super::metric::catalogue;

catalogue! {
    ISSUED = counter("stanchion_token_issued_total", "Tokens that were issued.").labels(&["service"]);
    CHECKS = counter(
        "stanchion_token_checks_total",
        "Tokens that were verified or checked, and what came of it."
    ).labels(&["service", "operation", "outcome"]);
    NEAR_HITS = counter(
        "stanchion_token_near_hits_total",
        "Checks that were answered by a verdict kept in the process."
    ).labels(&["service"]);
    REFRESHES = counter(
        "stanchion_token_refreshes_total",
        "Refresh tokens that were presented, and what came of it."
    ).labels(&["service", "outcome"]);
    REVOCATIONS = counter(
        "stanchion_token_revocations_total",
        "Revocations of one token, or of all of a scope."
    ).labels(&["service", "scope"]);
}
