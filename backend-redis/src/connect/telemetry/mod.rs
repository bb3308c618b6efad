//! What the connections of a backend measure.

mod commands;
mod connections;
mod operation;

pub(super) use self::commands::CommandTelemetry;
pub(super) use self::connections::{ConnectionTelemetry, Telemetry};
pub(super) use self::operation::Operation;
