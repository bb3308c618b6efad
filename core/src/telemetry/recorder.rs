//! Which recorders stay for the life of the process, so that what they hand out can be kept.
//!
//! The facade has one recorder for the process, which is installed once and never removed, and before that one that records
//! nothing. A test may set another for its thread, for as long as it likes; its address may later be that of the next one's.
//! The facade does not say which of them it hands out. A thread that was just started has none of its own, so the one it
//! sees is there to stay.

use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// The address of a recorder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Address(usize);

impl Address {
    pub(super) fn of(recorder: &dyn metrics::Recorder) -> Self {
        Self(ptr::from_ref(recorder).cast::<()>().addr())
    }
}

/// The one that records nothing, and the one of the process.
static LASTING: [OnceLock<Address>; 2] = [OnceLock::new(), OnceLock::new()];

/// How often a recorder was seen that is not known to last.
static UNKNOWN: AtomicU64 = AtomicU64::new(0);

/// Whether this recorder stays. `false` may also mean that it is not known yet: a thread is started only each time that the
/// number of such calls has doubled, some twenty times in a million.
pub(super) fn lasts(recorder: Address) -> bool {
    if LASTING.iter().any(|lasting| lasting.get() == Some(&recorder)) {
        return true;
    }
    let seen = UNKNOWN.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
    let Some(lasting) = seen.is_power_of_two().then(of_a_new_thread).flatten() else {
        return false;
    };
    // The first place that is free or holds it already.
    let _known = LASTING.iter().any(|place| *place.get_or_init(|| lasting) == lasting);
    lasting == recorder
}

/// `None` where no thread can be started.
fn of_a_new_thread() -> Option<Address> {
    let thread = thread::Builder::new().name("stanchion-recorder".to_owned());
    thread.spawn(|| metrics::with_recorder(|recorder| Address::of(recorder))).ok()?.join().ok()
}
