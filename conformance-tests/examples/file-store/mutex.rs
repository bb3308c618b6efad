//! A mutex in place of the file's lock: what a backend must not have. Not for copying.

use std::fs;
use std::io::{Error, ErrorKind, Result};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Keeps out the tasks and the handles of this process, and no other process.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes certain what else is bad luck: processes meet once, between the read and the write of their first change.
#[derive(Debug)]
pub(crate) struct Meeting {
    /// Where they leave their marks, if this process takes part.
    folder: Option<PathBuf>,
    is_over: AtomicBool,
}

impl Meeting {
    /// For a process that is to meet the others which have joined before the first change.
    pub(crate) fn join(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)?;
        mark(folder, "joined")?;
        Ok(Self { folder: Some(folder.to_owned()), is_over: AtomicBool::new(false) })
    }

    /// For a process that meets nobody.
    pub(crate) fn none() -> Self {
        Self { folder: None, is_over: AtomicBool::new(true) }
    }

    /// After the first read: waits until all have read.
    pub(crate) fn wait(&self) -> Result<()> {
        match &self.folder {
            Some(folder) if !self.is_over.swap(true, Ordering::SeqCst) => {
                mark(folder, "read")?;
                until(|| Ok(count(folder, "read")? >= count(folder, "joined")?))
            }
            _ => Ok(()),
        }
    }
}

fn mark(folder: &Path, what: &str) -> Result<()> {
    fs::write(folder.join(format!("{what}-{}", std::process::id())), "")
}

fn count(folder: &Path, what: &str) -> Result<usize> {
    let names = fs::read_dir(folder)?.map(|entry| Ok(entry?.file_name()));
    let names = names.collect::<Result<Vec<_>>>()?;
    Ok(names.iter().filter(|name| name.to_string_lossy().starts_with(what)).count())
}

#[expect(
    clippy::disallowed_methods,
    reason = "it waits for other processes, on a thread that has nothing else to do"
)]
fn until(is_over: impl Fn() -> Result<bool>) -> Result<()> {
    for _ in 0..10_000 {
        if is_over()? {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(Error::new(ErrorKind::TimedOut, "the other processes have not come"))
}
