//! Being told of changes: the feed that keeps copies in this process honest.

use std::fmt;

/// What is told of changes to entries. Called by the backend's reader: must not block, wait, or call the store.
pub trait Watcher: fmt::Debug + Send + Sync + 'static {
    /// The entry under this key was written, removed or has expired, by anybody; the key as in
    /// [`Key::as_str`](crate::key::Key::as_str), always of the watched namespace. May be told more than once, and also
    /// for a write of this process.
    fn changed(&self, key: &str);

    /// From now on changes may be missed. Everything that was copied may be out of date.
    fn lost(&self);

    /// From now on every change is told. Told once at the beginning too; whatever was copied before may be out of
    /// date.
    fn restored(&self);
}

/// Keeps a [`Watcher`] told; dropping it ends that.
#[must_use = "the watcher is told nothing more once this is dropped"]
pub struct Watch(Option<Box<dyn FnOnce() + Send + Sync>>);

impl Watch {
    /// For backends: `end` runs when this is dropped.
    pub fn new(end: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(end)))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(end) = self.0.take() {
            end();
        }
    }
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}
