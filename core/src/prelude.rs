//! What most services need: `use stanchion::prelude::*`.

pub use crate::attempts::{Attempts, Begun};
pub use crate::cache::{Cache, Counters, Freshness, LoadError, Loaded, Served, SetOutcome, Tag};
pub use crate::environment::Health;
pub use crate::error::{Effect, Error, ErrorKind};
pub use crate::event::{Delivery, Event, Topic};
pub use crate::key::Key;
pub use crate::limit::{Decision, Limits, Tier};
pub use crate::lock::{LockGuard, LockState, Locks};
pub use crate::session::{
    DestroyOutcome, OpenOutcome, Patch, PatchOutcome, SessionId, SessionLimit, SessionToken, Sessions,
    TouchOutcome,
};
pub use crate::stores::Stores;
pub use crate::time::{days, hours, minutes, seconds};
#[cfg(feature = "jwt")]
pub use crate::token::{Claims, IssueOptions, IssueOutcome, JwtKey, VerifyError};
pub use crate::token::{Scope, Tokens, Verdict};
