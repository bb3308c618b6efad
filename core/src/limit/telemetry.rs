//! What the rate limits of one kind measure.

use super::Decision;
use crate::error::Result;
use crate::key::Name;
use crate::telemetry::{Counter, limit as metric};

#[derive(Debug)]
pub(super) struct Telemetry {
    allowed: Counter,
    denied: Counter,
    cost_exceeded: Counter,
    failed: Counter,
}

impl Telemetry {
    pub(super) fn of(kind: &Name) -> Self {
        let outcome = |outcome: &'static str| Counter::new(&metric::CHECKS, &[kind.into(), outcome.into()]);
        Self {
            allowed: outcome("allowed"),
            denied: outcome("denied"),
            cost_exceeded: outcome("cost_exceeded"),
            failed: outcome("failed"),
        }
    }

    pub(super) fn checked(&self, decision: &Result<Decision>) {
        match decision {
            Ok(Decision::Allowed { .. }) => self.allowed.one(),
            Ok(Decision::Denied { .. }) => self.denied.one(),
            Ok(Decision::CostExceedsCapacity { .. }) => self.cost_exceeded.one(),
            Err(_) => self.failed.one(),
        }
    }
}
