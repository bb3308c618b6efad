//! What this library measures: the names as constants, and the handles that count.
//!
//! Every metric is a constant of one of the modules here, with its kind, its unit and its labels; [`all`] lists them. Names
//! and labels are interface: they change with the version as the interface in code does.
//!
//! The feature `metrics` is what turns the handles on: without it they are empty, and nothing is measured.
//!
#![doc = include_str!("../../docs/observability.md")]

pub mod cache;
pub mod connection;
pub mod event;
pub mod limit;
pub mod lock;
pub mod session;
pub mod store;
pub mod token;

#[cfg(feature = "metrics")]
mod cached;
mod counter;
mod gauge;
mod histogram;
mod metric;
#[cfg(feature = "metrics")]
mod recorder;

pub use self::counter::Counter;
pub use self::gauge::{Gauge, Tracked};
pub use self::histogram::Histogram;
pub use self::metric::{Kind, LabelValue, Metric, Unit};

/// Every metric of this library and its backends.
pub fn all() -> impl Iterator<Item = &'static Metric> {
    const AREAS: [&[Metric]; 8] = [
        cache::ALL,
        session::ALL,
        lock::ALL,
        event::ALL,
        limit::ALL,
        token::ALL,
        store::ALL,
        connection::ALL,
    ];
    AREAS.into_iter().flatten()
}

/// Hands unit and description of every metric to the current recorder, and the present value of every gauge: call it once
/// after a recorder was installed. Does nothing without the feature `metrics`.
pub fn describe() {
    #[cfg(feature = "metrics")]
    {
        all().for_each(metric::describe);
        gauge::export_all();
    }
}
