//! The thread on which the connections are driven by which locks are renewed.
//!
//! A lease is lost if its renewal waits: behind large replies on the same connection, or for a runtime whose threads compute.
//! So renewals have connections of their own, and these a runtime of one thread that does nothing else.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;

use tokio::runtime::Builder;
use tokio::sync::oneshot;

use super::context::Context;

/// As it is called where the system lists threads.
const NAME: &str = "stanchion-renewals";

/// Begins when it is needed first, and ends with its owner or before.
#[derive(Debug, Default)]
pub(super) struct RenewalThread {
    // None if the system has no thread to give, and once it has ended.
    begun: OnceLock<Option<Begun>>,
}

#[derive(Debug)]
struct Begun {
    context: Arc<Context>,
    // Dropped to end it.
    running: Mutex<Option<oneshot::Sender<()>>>,
}

impl RenewalThread {
    /// The context of connections that it drives; `None` where there is no such thread.
    pub(super) fn context(&self, parent: &Context) -> Option<&Arc<Context>> {
        self.begun.get_or_init(|| begin(parent)).as_ref().map(|begun| &begun.context)
    }

    /// Ends it, with all that it drives. It does not begin again.
    pub(super) fn end(&self) {
        if let Some(begun) = self.begun.get_or_init(|| None) {
            drop(begun.running.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

fn begin(parent: &Context) -> Option<Begun> {
    let begun = Builder::new_current_thread().enable_all().build().and_then(|runtime| {
        let context = {
            let _entered = runtime.enter();
            parent.on_this_runtime()
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
