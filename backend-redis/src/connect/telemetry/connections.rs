//! Connections: how many are up, what they carry, and how far the server is.

use std::sync::Arc;
use std::time::Duration;

use stanchion::telemetry::{Counter, Gauge, Histogram, Tracked, connection as metric};

use crate::connect::purpose::Purpose;

/// The measurements of the connections of each purpose.
#[derive(Debug)]
pub(crate) struct Telemetry {
    commands: Arc<ConnectionTelemetry>,
    bulk: Arc<ConnectionTelemetry>,
    renewals: Arc<ConnectionTelemetry>,
    subscriptions: Arc<ConnectionTelemetry>,
    invalidations: Arc<ConnectionTelemetry>,
    sentinels: Arc<ConnectionTelemetry>,
}

impl Telemetry {
    pub(in crate::connect) fn new() -> Self {
        let of = |purpose: Purpose| Arc::new(ConnectionTelemetry::new(purpose.name()));
        Self {
            commands: of(Purpose::Commands),
            bulk: of(Purpose::Bulk),
            renewals: of(Purpose::Renewals),
            subscriptions: of(Purpose::Subscriptions),
            invalidations: of(Purpose::Invalidations),
            sentinels: of(Purpose::Sentinels),
        }
    }

    pub(in crate::connect) fn of(&self, purpose: Purpose) -> &Arc<ConnectionTelemetry> {
        match purpose {
            Purpose::Commands => &self.commands,
            Purpose::Bulk => &self.bulk,
            Purpose::Renewals => &self.renewals,
            Purpose::Subscriptions => &self.subscriptions,
            Purpose::Invalidations => &self.invalidations,
            Purpose::Sentinels => &self.sentinels,
        }
    }
}

/// The measurements of the connections of one purpose.
#[derive(Debug)]
pub(in crate::connect) struct ConnectionTelemetry {
    up: Gauge,
    down: Gauge,
    reconnects: Counter,
    in_flight: Gauge,
    read: Counter,
    written: Counter,
    round_trip: Histogram,
}

impl ConnectionTelemetry {
    fn new(purpose: &'static str) -> Self {
        let state = |state: &'static str| Gauge::new(&metric::CONNECTIONS, &[purpose.into(), state.into()]);
        let bytes =
            |direction: &'static str| Counter::new(&metric::BYTES, &[purpose.into(), direction.into()]);
        Self {
            up: state("up"),
            down: state("down"),
            reconnects: Counter::new(&metric::RECONNECTS, &[purpose.into()]),
            in_flight: Gauge::new(&metric::IN_FLIGHT, &[purpose.into()]),
            read: bytes("read"),
            written: bytes("written"),
            round_trip: Histogram::new(&metric::ROUND_TRIP_SECONDS, &[purpose.into()]),
        }
    }

    /// A connection is up or down, until the answer is dropped.
    pub(in crate::connect) fn state(&self, up: bool) -> Tracked {
        if up { self.up.track() } else { self.down.track() }
    }

    pub(in crate::connect) fn reconnected(&self) {
        self.reconnects.one();
    }

    pub(in crate::connect) fn round_trip(&self, time: Duration) {
        self.round_trip.record(time);
    }

    /// The share of one connection.
    pub(in crate::connect) fn in_flight(&self) -> Tracked {
        self.in_flight.share()
    }

    pub(in crate::connect) fn read(&self, bytes: usize) {
        add(&self.read, bytes);
    }

    pub(in crate::connect) fn written(&self, bytes: usize) {
        add(&self.written, bytes);
    }
}

fn add(counter: &Counter, bytes: usize) {
    if bytes > 0 {
        counter.add(u64::try_from(bytes).unwrap_or(u64::MAX));
    }
}
