//! The thread on which the connections are driven by which locks are renewed.
//!
//! A lease is lost if its renewal waits: behind large replies on the same connection, or for a runtime whose threads compute.
//! So renewals have connections of their own, and these a runtime of one thread that does nothing else.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

/// As it is called where the system lists threads.
const NAME: &str = "stanchion-renewals";

/// Begins when it is needed first, and ends with its owner or before. Of type `C` is the context of what it drives.
#[derive(Debug)]
pub(super) struct RenewalThread<C> {
    // None if the system has no thread to give, and once it has ended.
    begun: OnceLock<Option<Begun<C>>>,
}

#[derive(Debug)]
struct Begun<C> {
    context: Arc<C>,
    // Dropped to end it.
    running: Mutex<Option<oneshot::Sender<()>>>,
}

impl<C> Default for RenewalThread<C> {
    fn default() -> Self {
        Self { begun: OnceLock::new() }
    }
}

impl<C> RenewalThread<C> {
    /// The context of connections that it drives, made on its runtime; `None` where there is no such thread.
    pub(super) fn context(&self, make: impl FnOnce() -> Arc<C>) -> Option<&Arc<C>> {
        self.begun.get_or_init(|| begin(make)).as_ref().map(|begun| &begun.context)
    }

    /// Ends it, with all that it drives. It does not begin again.
    pub(super) fn end(&self) {
        if let Some(begun) = self.begun.get_or_init(|| None) {
            drop(begun.running.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

fn begin<C>(make: impl FnOnce() -> Arc<C>) -> Option<Begun<C>> {
    let begun = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let context = {
            let _entered = runtime.enter();
            make()
        };
        let (running, ended) = oneshot::channel::<()>();
        thread::Builder::new().name(NAME.to_owned()).spawn(move || {
            // It is never sent: its end is dropped.
            let _ = runtime.block_on(ended);
        })?;
        Ok(Begun { context, running: Mutex::new(Some(running)) })
    });
    begun
        .inspect_err(|error| {
            tracing::warn!(%error, "there is no thread for the renewal of locks: they are renewed by the connection for commands");
        })
        .ok()
}
