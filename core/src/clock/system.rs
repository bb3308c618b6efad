//! The machine's own clocks.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_trait::async_trait;

use super::Clock;
use crate::time::{Monotonic, Timestamp};

/// The machine's clocks and tokio's timers.
///
/// On Linux [`now`](Clock::now) is `CLOCK_BOOTTIME`, which counts suspend; elsewhere it is
/// [`std::time::Instant`], which may stop during suspend.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[cfg(target_os = "linux")]
fn boot_time() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    // Both parts are never negative for this clock.
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

#[cfg(not(target_os = "linux"))]
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
fn boot_time() -> Duration {
    use std::sync::OnceLock;
    use std::time::Instant;
    static ORIGIN: OnceLock<Instant> = OnceLock::new();
    ORIGIN.get_or_init(Instant::now).elapsed()
}

#[async_trait]
impl Clock for SystemClock {
    fn now(&self) -> Monotonic {
        Monotonic::from_origin(boot_time())
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the machine's clock")]
    fn wall(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that starts a timer")]
    async fn sleep_until(&self, deadline: Monotonic) {
        // tokio's timer stops during suspend and is coarser than the clock: look again on waking.
        loop {
            let left = deadline.saturating_since(self.now());
            if left.is_zero() {
                return;
            }
            tokio::time::sleep(left).await;
        }
    }
}
