//! The wall clock of the store is set back or forth: by an operator, a time server, or a failover to another machine.

pub(super) mod cache;
pub(super) mod limit;
pub(super) mod lock;
pub(super) mod session;
pub(super) mod token;

use std::time::Duration;

use crate::WallStep;

const HOUR: Duration = Duration::from_hours(1);

/// Back, forth past where it was, and back to it.
const ROUND: [WallStep; 3] =
    [WallStep::Back(HOUR), WallStep::Forth(Duration::from_hours(2)), WallStep::Back(HOUR)];
