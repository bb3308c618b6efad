//! Changes by this process, which invalidate its own copies whatever becomes of the change: reply, error or a dropped
//! future.

use super::InvalidationListener;
use crate::key::Key;

/// Invalidates the near copies of keys that are being written, when it is dropped. Loads in flight without a lease are kept
/// from being stored over the write from the beginning on.
pub(in crate::cache) struct LocalWrite<'a> {
    listener: &'a InvalidationListener,
    keys: &'a [Key],
}

impl<'a> LocalWrite<'a> {
    /// To be made before the write.
    pub(in crate::cache) fn of(listener: &'a InvalidationListener, keys: &'a [Key]) -> Self {
        listener.writing(keys);
        Self { listener, keys }
    }
}

impl Drop for LocalWrite<'_> {
    fn drop(&mut self) {
        self.listener.written(self.keys);
    }
}

/// Invalidates the near copies of keys under which loaded values are being stored, when it is dropped. What was loaded is
/// no change of what it was loaded from: loads in flight go on.
pub(in crate::cache) struct LocalFill<'a> {
    listener: &'a InvalidationListener,
    keys: &'a [Key],
}

impl<'a> LocalFill<'a> {
    /// To be made before the values are stored.
    pub(in crate::cache) fn of(listener: &'a InvalidationListener, keys: &'a [Key]) -> Self {
        Self { listener, keys }
    }
}

impl Drop for LocalFill<'_> {
    fn drop(&mut self) {
        for key in self.keys {
            self.listener.near_changed(key.as_str());
        }
    }
}

/// Detaches every load in flight when it is dropped: which of them will carry a tag that is being invalidated, nobody knows yet.
pub(in crate::cache) struct LocalInvalidation<'a>(pub(in crate::cache) &'a InvalidationListener);

impl Drop for LocalInvalidation<'_> {
    fn drop(&mut self) {
        self.0.loads_changed();
    }
}

/// Invalidates the near copies of everything in the cache, when it is dropped.
pub(in crate::cache) struct LocalClear<'a>(pub(in crate::cache) &'a InvalidationListener);

impl Drop for LocalClear<'_> {
    fn drop(&mut self) {
        self.0.all_changed();
    }
}
