//! Limits: [`RateLimiter`] for backends, [`Limits`] and [`InFlight`] for services; failed log-ins have a module of their own,
//! [`attempts`](crate::attempts).
//!
//! The algorithm is GCRA, the virtual-scheduling form of the leaky bucket (ITU-T I.371), in whole numbers:
//! see [`Gcra`] and [`Usage`].

mod attempt;
mod bounded;
mod builder;
mod calendar;
mod capability;
mod decision;
mod denials;
mod facade;
mod failures;
mod gcra;
mod headers;
mod in_flight;
mod lease;
mod moment;
mod outage;
mod place;
mod quota;
mod store;
mod stored;
mod subject;
mod telemetry;
mod tier;
mod usage;
mod waiting;
mod working;

pub use self::attempt::{AttemptOutcome, AttemptRequest, AttemptTicket, LockedBy, Lockout, Settlement};
pub use self::builder::LimitsBuilder;
pub use self::calendar::{Calendar, CalendarUnit};
pub use self::capability::LimitCapabilities;
pub use self::decision::{DecidedBy, Decision, Grant, TierStatus};
pub use self::facade::Limits;
pub use self::failures::Failures;
pub use self::gcra::Gcra;
pub use self::headers::RateHeaders;
pub use self::in_flight::{Entered, InFlight, InFlightBuilder, InFlightGuard};
pub use self::lease::{LeaseOutcome, LeaseRequest};
pub use self::moment::LimitTime;
pub use self::outage::OnOutage;
pub use self::store::RateLimiter;
pub use self::subject::AddressPrefix;
pub use self::tier::Tier;
pub use self::usage::Usage;
