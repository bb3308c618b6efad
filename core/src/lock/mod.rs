//! Locks with leases and fencing tokens: [`Locker`] for backends, [`Locks`] and [`LockGuard`] for services.
//!
//! A lock that can expire can be held by two at once, if only one of them knows: a holder that was paused
//! past its lease wakes up believing. So a lock alone is for efficiency. For correctness give the
//! [fencing token](LockGuard::fence) to the resource, which refuses every number smaller than one it has
//! seen (M. Kleppmann, "How to do distributed locking", 2016).

mod capability;
mod facade;
mod guard;
mod lease;
mod locker;
mod telemetry;

pub use self::capability::LockCapabilities;
pub use self::facade::{Acquire, Locks};
pub use self::guard::{LockGuard, LockState};
pub use self::lease::{AcquireOutcome, Fence, Lease, LockRequest, LockToken, ReleaseOutcome, RenewOutcome};
pub use self::locker::Locker;
