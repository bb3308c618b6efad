//! Who follows which servers are masters.

use std::sync::{Arc, OnceLock, Weak};

use super::target::Target;

/// Follows the masters. It knows of each before the first command is sent there.
pub(crate) trait MasterObserver: Send + Sync + 'static {
    /// These are the masters from now on. Must not wait, nor call the client.
    fn masters_changed(&self, masters: &[Target]);

    /// A call had no reply in time: a connection may be dead.
    fn call_timed_out(&self);
}

/// The one observer of a backend, once there is one.
#[derive(Default)]
pub(super) struct Observed(OnceLock<Weak<dyn MasterObserver>>);

impl Observed {
    /// There is one for the life of the backend: a second is not taken.
    pub(super) fn set(&self, observer: Weak<dyn MasterObserver>) {
        let _ = self.0.set(observer);
    }

    pub(super) fn observer(&self) -> Option<Arc<dyn MasterObserver>> {
        self.0.get().and_then(Weak::upgrade)
    }
}
