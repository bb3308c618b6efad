//! Who waits in this process for an entry that another process is loading.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

/// Tasks of this process that wait for a change of a key.
#[derive(Debug, Default)]
pub(super) struct LeaseWaiters(Mutex<HashMap<String, Waiting>>);

#[derive(Debug)]
struct Waiting {
    changed: Arc<Notify>,
    count: usize,
}

impl LeaseWaiters {
    fn waiting(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A change from now on is not missed.
    pub(super) fn wait_for(self: &Arc<Self>, key: &str) -> Wait {
        let mut waiting = self.waiting();
        let entry = waiting
            .entry(key.to_owned())
            .or_insert_with(|| Waiting { changed: Arc::new(Notify::new()), count: 0 });
        entry.count += 1;
        let mut notified = Box::pin(Arc::clone(&entry.changed).notified_owned());
        notified.as_mut().enable();
        Wait { waiters: Arc::clone(self), key: key.to_owned(), notified }
    }

    /// The entry has changed.
    pub(super) fn wake(&self, key: &str) {
        if let Some(waiting) = self.waiting().get(key) {
            waiting.changed.notify_waiters();
        }
    }

    /// Changes may have been missed: everybody looks.
    pub(super) fn wake_all(&self) {
        self.waiting().values().for_each(|waiting| waiting.changed.notify_waiters());
    }
}

/// One who waits; forgotten when dropped.
#[derive(Debug)]
pub(super) struct Wait {
    waiters: Arc<LeaseWaiters>,
    key: String,
    notified: std::pin::Pin<Box<tokio::sync::futures::OwnedNotified>>,
}

impl Wait {
    /// Resolves at the first change.
    pub(super) async fn changed(&mut self) {
        self.notified.as_mut().await;
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        let mut waiting = self.waiters.waiting();
        if let Some(entry) = waiting.get_mut(&self.key) {
            entry.count -= 1;
            if entry.count == 0 {
                waiting.remove(&self.key);
            }
        }
    }
}
