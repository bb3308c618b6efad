//! What a lock backend implements.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;

use super::{AcquireOutcome, Fence, Lease, LockCapabilities, LockRequest, ReleaseOutcome, RenewOutcome};
use crate::error::Result;
use crate::key::Key;

/// Leases on names. Services use [`Locks`](super::Locks) instead.
///
/// # Contract
/// - At any time by the store's clock at most one lease on a key is live.
/// - The fence of each acquisition is greater than that of every earlier one of the same key, by whichever process, and
///   also where the store's wall clock has gone back: it is `max(previous + 1, the store's time in µs)`.
/// - Only the token that acquired can renew or release; anything else changes nothing.
/// - A lease that has expired is never revived: `renew` says `Lost`, even if the lock is free.
/// - `acquire` with the token that holds the lock answers `Acquired` with the same fence, and the full lease
///   from now: a request whose reply was lost can be asked again.
/// - Each call is one step for every process on the same data, and not only for the tasks of one: a mutex is no
///   transaction.
/// - A store that keeps deadlines as times of its wall clock may prolong or shorten a lease by as much as that clock is
///   set back or forth, and by no more.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done. The façade's
/// guard undoes an acquisition whose answer nobody waited for.
#[async_trait]
pub trait Locker: fmt::Debug + Send + Sync + 'static {
    /// What this backend can take; constant over its life.
    fn capabilities(&self) -> LockCapabilities;

    /// Takes the lock if it is free. Never waits.
    async fn acquire(&self, request: &LockRequest) -> Result<AcquireOutcome>;

    /// Renews leases, each for its own length from now; the outcomes in their order.
    async fn renew(&self, leases: &[Lease]) -> Result<Vec<RenewOutcome>>;

    /// Releases a lease.
    async fn release(&self, lease: &Lease) -> Result<ReleaseOutcome>;

    /// The fence of the current holder and what is left of its lease; `None` if the lock is free.
    async fn inspect(&self, key: &Key) -> Result<Option<(Fence, Duration)>>;
}
