//! A locker with a layer around each call.

use std::time::Duration;

use async_trait::async_trait;

use super::{Around, Layered};
use crate::error::Result;
use crate::key::Key;
use crate::layer::Call;
use crate::lock::{
    AcquireOutcome, Fence, Lease, LockCapabilities, LockRequest, Locker, ReleaseOutcome, RenewOutcome,
};

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl<A: Around> Locker for Layered<dyn Locker, A> {
    fn capabilities(&self) -> LockCapabilities {
        let mut capabilities = self.inner.capabilities();
        capabilities.base = self.base(capabilities.base);
        capabilities
    }

    async fn acquire(&self, request: &LockRequest) -> Result<AcquireOutcome> {
        self.around.call(Call::LOCK_ACQUIRE, || self.inner.acquire(request)).await
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<RenewOutcome>> {
        self.around.call(Call::LOCK_RENEW, || self.inner.renew(leases)).await
    }

    async fn release(&self, lease: &Lease) -> Result<ReleaseOutcome> {
        self.around.call(Call::LOCK_RELEASE, || self.inner.release(lease)).await
    }

    async fn inspect(&self, key: &Key) -> Result<Option<(Fence, Duration)>> {
        self.around.call(Call::LOCK_INSPECT, || self.inner.inspect(key)).await
    }
}
