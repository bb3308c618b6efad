//! What rate limits measure, each under its kind (`login` of `stores.limits("login")`).

use super::Metric;
use super::metric::catalogue;

catalogue! {
    CHECKS = counter("stanchion_limit_checks_total", "Requests that were checked, and what was decided.").labels(&["limit", "outcome"]);
    PLACES_LEFT = counter(
        "stanchion_limit_places_left_total",
        "Places in flight that could not be given back and end with their leases, and why."
    ).labels(&["limit", "reason"]);
}
