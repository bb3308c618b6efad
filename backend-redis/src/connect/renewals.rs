//! The thread on which the connections are driven by which locks are renewed.
//!
//! A lease is lost if its renewal waits: behind large replies on the same connection, or for a runtime whose threads compute.
//! So renewals have connections of their own, and these a runtime of one thread that does nothing else.

use std::sync::{Arc, Mutex, OnceLock, PoisonError, mpsc};
use std::{io, thread};

use tokio::runtime::{Builder, Runtime};
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
        self.begun.get_or_init(|| begin(make, spawn)).as_ref().map(|begun| &begun.context)
    }

    /// Ends it, with all that it drives. It does not begin again.
    pub(super) fn end(&self) {
        if let Some(begun) = self.begun.get_or_init(|| None) {
            drop(begun.running.lock().unwrap_or_else(PoisonError::into_inner).take());
        }
    }
}

/// What the thread does.
type Work = Box<dyn FnOnce() + Send>;

fn spawn(work: Work) -> io::Result<()> {
    thread::Builder::new().name(NAME.to_owned()).spawn(work).map(drop)
}

fn begin<C>(make: impl FnOnce() -> Arc<C>, spawn: impl FnOnce(Work) -> io::Result<()>) -> Option<Begun<C>> {
    start(make, spawn)
        .inspect_err(|error| {
            tracing::warn!(%error, "there is no thread for the renewal of locks: they are renewed by the connection for commands");
        })
        .ok()
}

fn start<C>(
    make: impl FnOnce() -> Arc<C>,
    spawn: impl FnOnce(Work) -> io::Result<()>,
) -> io::Result<Begun<C>> {
    let (hand_over, handed_over) = mpsc::channel::<Runtime>();
    let (running, ended) = oneshot::channel::<()>();
    // The thread is given its runtime when it is there. Otherwise that would be dropped with what can't be spawned, and
    // no runtime may be dropped within another.
    spawn(Box::new(move || {
        if let Ok(runtime) = handed_over.recv() {
            // It is never sent: its end is dropped.
            let _ = runtime.block_on(ended);
        }
    }))?;
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let context = {
        let _entered = runtime.enter();
        make()
    };
    if let Err(mpsc::SendError(runtime)) = hand_over.send(runtime) {
        runtime.shutdown_background();
        return Err(io::Error::other("the thread has ended"));
    }
    Ok(Begun { context, running: Mutex::new(Some(running)) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn where_there_is_no_thread_there_is_no_context_and_no_panic() {
        assert!(begin(|| Arc::new(()), |_| Err(io::ErrorKind::WouldBlock.into())).is_none());
        // One that ends before it has begun.
        assert!(
            begin(
                || Arc::new(()),
                |work| {
                    drop(work);
                    Ok(())
                }
            )
            .is_none()
        );
    }

    #[tokio::test]
    async fn the_thread_drives_what_is_made_on_its_runtime_until_it_ends() {
        let (name, named) = oneshot::channel();
        let (ended, heard) = oneshot::channel::<()>();
        let renewals = RenewalThread::default();
        let _context = renewals.context(|| {
            drop(tokio::spawn(async move {
                let _ended = ended;
                name.send(thread::current().name().map(str::to_owned)).unwrap();
                std::future::pending::<()>().await;
            }));
            Arc::new(())
        });
        assert_eq!(named.await.unwrap().as_deref(), Some(NAME));
        renewals.end();
        assert!(heard.await.is_err(), "with all that it drives");
    }
}
