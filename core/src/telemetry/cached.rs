//! A handle of whichever recorder there is now.

use std::sync::OnceLock;

use metrics::{Key, Level, Metadata, Recorder};

use super::recorder::{self, Address};

/// What a recorder hands out for a key.
pub(super) trait Handle: Sized {
    fn register(recorder: &dyn Recorder, key: &Key) -> Self;
}

const METADATA: Metadata<'static> = Metadata::new("stanchion", Level::INFO, Some(module_path!()));

impl Handle for metrics::Counter {
    fn register(recorder: &dyn Recorder, key: &Key) -> Self {
        recorder.register_counter(key, &METADATA)
    }
}

impl Handle for metrics::Gauge {
    fn register(recorder: &dyn Recorder, key: &Key) -> Self {
        recorder.register_gauge(key, &METADATA)
    }
}

impl Handle for metrics::Histogram {
    fn register(recorder: &dyn Recorder, key: &Key) -> Self {
        recorder.register_histogram(key, &METADATA)
    }
}

/// A key, and the handles of the recorders that last: the one that records nothing, until another is installed, and that
/// one. Using a handle that is kept takes no lock, no memory and no look-up.
pub(super) struct Cached<H> {
    key: Key,
    kept: [OnceLock<(Address, H)>; 2],
}

impl<H: Handle> Cached<H> {
    pub(super) const fn new(key: Key) -> Self {
        Self { key, kept: [OnceLock::new(), OnceLock::new()] }
    }

    pub(super) const fn key(&self) -> &Key {
        &self.key
    }

    /// Uses the handle of the current recorder.
    pub(super) fn with<R>(&self, use_handle: impl FnOnce(&H) -> R) -> R {
        metrics::with_recorder(|recorder| {
            let address = Address::of(recorder);
            match self.kept.iter().filter_map(OnceLock::get).find(|(of, _)| *of == address) {
                Some((_, handle)) => use_handle(handle),
                None => use_handle(&self.register(recorder, address)),
            }
        })
    }

    #[cold]
    fn register(&self, recorder: &dyn Recorder, address: Address) -> H
    where
        H: Handle,
    {
        if recorder::lasts(address) {
            for place in &self.kept {
                // Another thread may have filled it, for the same recorder or for the other.
                if place.get_or_init(|| (address, H::register(recorder, &self.key))).0 == address {
                    break;
                }
            }
        }
        H::register(recorder, &self.key)
    }
}
