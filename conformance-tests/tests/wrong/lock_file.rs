//! Locks in files, which other processes can open: right but for one thing. A lease is ended by the process that
//! took it, and nobody else looks at its time; so the lock of a process that was killed is held for ever.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stanchion::clock::{Clock, SystemClock};
use stanchion::contract::Contract;
use stanchion::environment::Environment;
use stanchion::key::Key;
use stanchion::lock::{
    AcquireOutcome, Fence, Lease, LockCapabilities, LockRequest, LockToken, Locker, ReleaseOutcome,
    RenewOutcome,
};
use stanchion::stores::Stores;
use stanchion::{Error, ErrorKind, Result};
use stanchion_conformance::{Harness, Offers, Place, Time, Unavailable};
use stanchion_memory::MemoryBackend;

use crate::stores::Life;

/// What a child finds in its environment: the folder of its parent.
const VARIABLE: &str = "STANCHION_WRONG_LOCK_FILES";

/// A folder for each place, in one of its own.
pub(crate) struct LockFile {
    folder: PathBuf,
    is_child: bool,
}

impl LockFile {
    /// With the folder of the parent, in a child.
    pub(crate) fn new() -> Self {
        let parents = std::env::var_os(VARIABLE).map(PathBuf::from);
        let (is_child, fresh) = (parents.is_some(), Place::fresh());
        let own = || std::env::temp_dir().join(format!("stanchion-lock-file-{}", fresh.prefix()));
        Self { folder: parents.unwrap_or_else(own), is_child }
    }
}

impl Drop for LockFile {
    fn drop(&mut self) {
        if !self.is_child {
            // Nothing is left to tell it to.
            let _ = fs::remove_dir_all(&self.folder);
        }
    }
}

#[async_trait]
impl Harness for LockFile {
    fn name(&self) -> &'static str {
        "lock-file"
    }

    fn offers(&self) -> Offers {
        let mut only_locks = Offers::all();
        (only_locks.cache, only_locks.session, only_locks.event) = (false, false, false);
        (only_locks.limit, only_locks.token) = (false, false);
        only_locks
    }

    fn time(&self) -> Time {
        Time::Real
    }

    async fn prepare(&self) -> Result<(), Unavailable> {
        Ok(())
    }

    async fn open(&self, place: &Place) -> Result<Stores> {
        let folder = self.folder.join(place.prefix());
        fs::create_dir_all(&folder).map_err(failed)?;
        let life = Life::of(&MemoryBackend::new().stores());
        Ok(Stores::builder(Environment::system())
            .life_of(Arc::new(life))
            .locks(Arc::new(Files { folder }))
            .build())
    }

    #[expect(clippy::disallowed_methods, reason = "processes share the machine's time, which really passes")]
    async fn advance(&self, _place: &Place, by: Duration) {
        tokio::time::sleep(by).await;
    }

    fn child_environment(&self) -> Option<Vec<(String, String)>> {
        Some(vec![(VARIABLE.to_owned(), self.folder.to_string_lossy().into_owned())])
    }
}

fn failed(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "the file can't be used").with_source(error)
}

#[derive(Debug)]
struct Files {
    folder: PathBuf,
}

/// What a file says: who holds the lock since when, in which process and until when, in µs.
struct Held {
    token: String,
    fence: u64,
    process: u32,
    until: u64,
}

impl Files {
    /// Until it is dropped, nobody else changes or reads them, in whichever process.
    fn alone(&self) -> Result<fs::File> {
        let file = fs::File::create(self.folder.join("lock")).map_err(failed)?;
        file.lock().map_err(failed)?;
        Ok(file)
    }

    fn path(&self, key: &Key) -> PathBuf {
        // Not every file system tells upper from lower case.
        let hex = |name, byte| format!("{name}{byte:02x}");
        self.folder.join(key.as_str().bytes().fold(String::new(), hex))
    }

    /// The last holder, whatever became of it.
    fn last(&self, key: &Key) -> Option<Held> {
        let text = fs::read_to_string(self.path(key)).ok()?;
        let mut words = text.split(' ');
        Some(Held {
            token: words.next()?.to_owned(),
            fence: words.next()?.parse().ok()?,
            process: words.next()?.parse().ok()?,
            until: words.next()?.parse().ok()?,
        })
    }

    fn holder(&self, key: &Key) -> Option<Held> {
        // The mistake: of another process's lease the time is not looked at.
        let is_over = |held: &Held| held.process == std::process::id() && held.until <= now();
        self.last(key).filter(|held| held.until > 0 && !is_over(held))
    }

    fn write(&self, key: &Key, held: &Held) -> Result<()> {
        let Held { token, fence, process, until } = held;
        fs::write(self.path(key), format!("{token} {fence} {process} {until}")).map_err(failed)
    }

    fn hold(&self, lease: &Lease) -> Result<()> {
        let until = now() + lease.lease.as_millis() * 1_000;
        let (token, process) = (lease.token.to_hex(), std::process::id());
        self.write(&lease.key, &Held { token, fence: lease.fence.get(), process, until })
    }

    fn is_held_by(&self, key: &Key, token: &LockToken) -> bool {
        self.holder(key).is_some_and(|held| held.token == token.to_hex())
    }
}

fn now() -> u64 {
    SystemClock.wall().as_micros()
}

fn left(held: &Held) -> Duration {
    Duration::from_micros(held.until.saturating_sub(now()))
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl Locker for Files {
    fn capabilities(&self) -> LockCapabilities {
        LockCapabilities::new(Contract::V1)
    }

    async fn acquire(&self, request: &LockRequest) -> Result<AcquireOutcome> {
        let _alone = self.alone()?;
        let fence = match self.holder(&request.key) {
            Some(held) if held.token == request.token.to_hex() => held.fence,
            Some(held) => return Ok(AcquireOutcome::Busy { remaining: left(&held) }),
            None => now().max(self.last(&request.key).map_or(0, |last| last.fence + 1)),
        };
        let LockRequest { key, token, lease, .. } = request.clone();
        let lease = Lease::new(key, token, Fence::new(fence), lease);
        self.hold(&lease)?;
        Ok(AcquireOutcome::Acquired(lease))
    }

    async fn renew(&self, leases: &[Lease]) -> Result<Vec<RenewOutcome>> {
        let _alone = self.alone()?;
        let renew = |lease: &Lease| {
            if !self.is_held_by(&lease.key, &lease.token) {
                return Ok(RenewOutcome::Lost);
            }
            self.hold(lease).map(|()| RenewOutcome::Held)
        };
        leases.iter().map(renew).collect()
    }

    async fn release(&self, lease: &Lease) -> Result<ReleaseOutcome> {
        let _alone = self.alone()?;
        match self.holder(&lease.key) {
            Some(held) if held.token == lease.token.to_hex() => {
                self.write(&lease.key, &Held { until: 0, ..held })?;
                Ok(ReleaseOutcome::Released)
            }
            _ => Ok(ReleaseOutcome::WasLost),
        }
    }

    async fn inspect(&self, key: &Key) -> Result<Option<(Fence, Duration)>> {
        let _alone = self.alone()?;
        Ok(self.holder(key).map(|held| (Fence::new(held.fence), left(&held))))
    }
}
