//! What rate limits measure, each under its kind (`login` of `stores.limits("login")`).

use super::Metric;
use super::metric::catalogue;

catalogue! {
    CHECKS = counter("stanchion_limit_checks_total", "Requests that were checked, and what was decided.").labels(&["limit", "outcome"]);
}
