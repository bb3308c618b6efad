//! The file, how it is read and changed, and the backend that hands the stores on it out.
//!
//! The file is JSON. A change takes the lock, reads the file, and puts a new one in its place by a rename: whoever reads sees
//! the one or the other, whole.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use stanchion::cache::CacheStore;
use stanchion::clock::Clock;
use stanchion::environment::Health;
use stanchion::event::EventBus;
use stanchion::limit::RateLimiter;
use stanchion::lock::Locker;
use stanchion::session::SessionStore;
use stanchion::stores::Backend;
use stanchion::time::Timestamp;
use stanchion::token::TokenStore;
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use super::limit::Used;
use super::mutex::{self, Meeting};

/// All that is stored. Times are of the machine's wall clock, which all processes share.
#[derive(Default, Serialize, Deserialize)]
pub(crate) struct Data {
    pub(crate) entries: BTreeMap<String, Entry>,
    /// For each subject what it has used.
    pub(crate) limits: BTreeMap<String, Used>,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) value: Vec<u8>,
    pub(crate) until: Timestamp,
}

impl Data {
    /// Drops what is over, so that nothing else need look at deadlines.
    fn expire(&mut self, now: Timestamp) {
        self.entries.retain(|_, entry| entry.until > now);
        self.limits.retain(|_, used| used.until > now);
    }
}

/// What keeps others out between the read and the write of a change.
#[derive(Debug)]
pub(crate) enum Locking {
    /// The lock of a file: it keeps out every process.
    File,
    /// A mutex: it keeps out the tasks of this process. Wrong, and here to be found out.
    Mutex(Meeting),
}

/// A handle on the file of a folder.
#[derive(Debug, Clone)]
pub(crate) struct FileStore(pub(crate) Arc<Opened>);

#[derive(Debug)]
pub(crate) struct Opened {
    folder: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
    locking: Locking,
    /// Down once this handle is closed.
    health: watch::Sender<Health>,
}

impl FileStore {
    pub(crate) fn open(folder: PathBuf, clock: Arc<dyn Clock>, locking: Locking) -> Result<Self> {
        fs::create_dir_all(&folder).map_err(failed)?;
        let opened = Opened { folder, clock, locking, health: watch::Sender::new(Health::Up) };
        let _lock = opened.lock()?;
        // From now on a file that is missing is an error, and not an empty one.
        if !opened.file().exists() {
            opened.write(&Data::default())?;
        }
        Ok(Self(Arc::new(opened)))
    }

    /// Looks at what is stored.
    pub(crate) async fn look<T: Send + 'static>(
        &self,
        operation: &'static str,
        look: impl FnOnce(&Data, Timestamp) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(operation, move |opened| {
            let (data, now) = opened.read()?;
            look(&data, now)
        })
        .await
    }

    /// Changes what is stored, in one step for everybody. An error leaves it as it was.
    pub(crate) async fn change<T: Send + 'static>(
        &self,
        operation: &'static str,
        change: impl FnOnce(&mut Data, Timestamp) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.run(operation, move |opened| match &opened.locking {
            Locking::File => {
                let _lock = opened.lock()?;
                opened.rewrite(change, || Ok(()))
            }
            Locking::Mutex(meeting) => {
                let _alone = mutex::alone();
                opened.rewrite(change, || meeting.wait())
            }
        })
        .await
    }

    /// On a thread that may wait for the lock and the disk. What has begun there is done whether or not the caller stays.
    async fn run<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl FnOnce(&Opened) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let opened = Arc::clone(&self.0);
        let work = move || {
            if *opened.health.borrow() == Health::Down {
                return Err(Error::new(ErrorKind::Closed, "this handle of the file is closed"));
            }
            work(&opened)
        };
        let done = tokio::task::spawn_blocking(work).await;
        done.unwrap_or_else(
            |error| Err(Error::new(ErrorKind::Internal, "a step panicked").with_source(error)),
        )
        .map_err(|error| error.with_operation(operation).with_backend("file"))
    }
}

impl Opened {
    fn file(&self) -> PathBuf {
        self.folder.join("data.json")
    }

    /// Keeps everybody else out, until it is dropped or this process dies. A file of its own: the other one is replaced.
    fn lock(&self) -> Result<File> {
        let file = File::create(self.folder.join("lock")).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    fn read(&self) -> Result<(Data, Timestamp)> {
        let json = fs::read(self.file()).map_err(failed)?;
        let mut data: Data = serde_json::from_slice(&json).map_err(|error| {
            Error::new(ErrorKind::Codec, "the file holds something else").with_source(error)
        })?;
        let now = self.clock.wall();
        data.expire(now);
        Ok((data, now))
    }

    fn rewrite<T>(
        &self,
        change: impl FnOnce(&mut Data, Timestamp) -> Result<T>,
        before_write: impl FnOnce() -> io::Result<()>,
    ) -> Result<T> {
        let (mut data, now) = self.read()?;
        let made = change(&mut data, now)?;
        before_write().map_err(failed)?;
        self.write(&data)?;
        Ok(made)
    }

    fn write(&self, data: &Data) -> Result<()> {
        let json = serde_json::to_vec(data).map_err(io::Error::from).map_err(failed)?;
        let new = self.folder.join(format!("new-{}", std::process::id()));
        fs::write(&new, json).and_then(|()| fs::rename(&new, self.file())).map_err(failed)
    }
}

/// Every error of the file system. The rename is the last step and the only one that counts: before it, nothing was done.
fn failed(error: io::Error) -> Error {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => ErrorKind::Denied,
        _ => ErrorKind::Unavailable,
    };
    Error::new(kind, "the file can't be used").with_source(error)
}

#[async_trait]
impl Backend for FileStore {
    fn name(&self) -> &'static str {
        "file"
    }

    fn health(&self) -> watch::Receiver<Health> {
        self.0.health.subscribe()
    }

    async fn close(&self) {
        self.0.health.send_replace(Health::Down);
    }

    fn cache(&self) -> Option<Arc<dyn CacheStore>> {
        Some(Arc::new(self.clone()))
    }

    fn sessions(&self) -> Option<Arc<dyn SessionStore>> {
        None
    }

    fn events(&self) -> Option<Arc<dyn EventBus>> {
        None
    }

    fn locks(&self) -> Option<Arc<dyn Locker>> {
        None
    }

    fn limits(&self) -> Option<Arc<dyn RateLimiter>> {
        Some(Arc::new(self.clone()))
    }

    fn tokens(&self) -> Option<Arc<dyn TokenStore>> {
        None
    }
}
