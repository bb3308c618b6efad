//! Fences and leases.

use stanchion::key::Key;
use stanchion::lock::{AcquireOutcome, Lease, LockRequest, LockToken, Locker, ReleaseOutcome};
use stanchion::time::Ttl;

use super::{HOUR, ROUND};
use crate::check::{ensure, fail, same};
use crate::{Context, Outcome, WallStep};

async fn take(locker: &dyn Locker, name: &str, n: u8, lease: Ttl) -> Outcome<Lease> {
    let request = LockRequest::new(Key::new("locks", "lock", name)?, LockToken::new([n; 16]), lease);
    match locker.acquire(&request).await? {
        AcquireOutcome::Acquired(lease) => Ok(lease),
        busy => fail("the lock is free", busy),
    }
}

async fn release(locker: &dyn Locker, lease: &Lease) -> Outcome {
    same(locker.release(lease).await?, ReleaseOutcome::Released, "the holder's release")
}

pub(in crate::cases) async fn fences_only_grow(cx: &Context) -> Outcome {
    let locker = cx.open().await?.locker()?;
    let released = take(&*locker, "released", 1, Ttl::MAX).await?;
    release(&*locker, &released).await?;
    let mut held = take(&*locker, "held", 2, Ttl::MAX).await?;
    let (mut of_released, mut of_held) = (released.fence.get(), held.fence.get());
    for (n, step) in (3..).zip(ROUND) {
        let frame = cx.step(step).await?;
        (of_released, of_held) = (frame.now(of_released), frame.now(of_held));
        let inspected = locker.inspect(&held.key).await?.map(|(fence, _)| fence.get());
        same(inspected, Some(of_held), &format!("the fence of a lock that is held, {step:?}"))?;
        release(&*locker, &held).await?;
        held = take(&*locker, "held", n, Ttl::MAX).await?;
        let released = take(&*locker, "released", n, Ttl::MAX).await?;
        release(&*locker, &released).await?;
        for (last, lease) in [(&mut of_held, &held), (&mut of_released, &released)] {
            let fence = lease.fence.get();
            ensure(fence > *last, &format!("a greater fence after {step:?}"), (*last, fence))?;
            *last = fence;
        }
    }
    Ok(())
}

async fn is_over(cx: &Context, step: WallStep, life: Ttl, longer: Ttl) -> Outcome {
    let locker = cx.open().await?.locker()?;
    let lease = take(&*locker, "a", 1, life).await?;
    let _frame = cx.step(step).await?;
    cx.pass(longer).await;
    let what = format!("a lease that has lasted long enough, {step:?}");
    same(locker.inspect(&lease.key).await?, None, &what)
}

pub(in crate::cases) async fn lives_after_a_step_back(cx: &Context) -> Outcome {
    let life = cx.short();
    is_over(cx, WallStep::Back(life.as_duration()), life, Ttl::new(2 * life.as_duration())?).await
}

pub(in crate::cases) async fn lives_after_a_step_forth(cx: &Context) -> Outcome {
    is_over(cx, WallStep::Forth(HOUR), cx.short(), cx.short()).await
}
