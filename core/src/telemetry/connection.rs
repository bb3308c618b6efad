//! What a backend's connections to its servers measure, each under the kind of the connection.

use super::metric::catalogue;
use super::{Metric, Unit};

catalogue! {
    CONNECTIONS = gauge(
        "stanchion_connections",
        "Connections of this process that are up, or down and being reconnected."
    ).labels(&["connection", "state"]);
    RECONNECTS = counter("stanchion_connection_reconnects_total", "Connections that were lost and are back.").labels(&["connection"]);
    IN_FLIGHT = gauge("stanchion_connection_in_flight", "Requests that wait for their reply now.").labels(&["connection"]);
    BYTES = counter("stanchion_connection_bytes_total", "Bytes that were read or written.")
        .unit(Unit::Bytes).labels(&["connection", "direction"]);
    ROUND_TRIP_SECONDS = seconds(
        "stanchion_connection_round_trip_seconds",
        "From a heartbeat until its reply."
    ).labels(&["connection"]);
    COMMAND_SECONDS = seconds(
        "db.client.operation.duration",
        "From when a command, or several of one caller together, were sent until their reply."
    ).labels(&["db.system.name", "db.operation.name"]).failure_label("error.type");
}
