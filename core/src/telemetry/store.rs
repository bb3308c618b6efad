//! What the layer of measurements measures, where it is put around the stores.

use super::Metric;
use super::metric::catalogue;

catalogue! {
    CALLS = counter(
        "stanchion_store_calls_total",
        "Calls of a store that have ended, and how: `ok`, the kind of the error, or `cancelled` by the caller."
    ).labels(&["area", "operation", "outcome"]);
    CALL_SECONDS = seconds("stanchion_store_call_seconds", "How long calls of a store took, but for cancelled ones.").labels(&["area", "operation"]);
}
