//! Processes that meet between the read and the write of a change, for certain: of those that have opened a place, the
//! first that changes it writes what it has read once each of the others has read the same and written.

use std::fs::{self, File};
use std::io::{Error, ErrorKind, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Nobody waits longer for another process that never comes.
const LONGEST: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Race {
    folder: PathBuf,
}

/// A change's part in the race. Only the first one of each place waits for another.
pub(super) enum Part<'a> {
    First(&'a Race),
    Other(&'a Race),
}

impl Race {
    /// With this process among the others.
    pub(super) fn join(folder: PathBuf) -> Result<Self> {
        let race = Self { folder };
        race.mark(&format!("joined-{}", std::process::id()))?;
        Ok(race)
    }

    /// Before the read.
    pub(super) fn begin(&self) -> Result<Part<'_>> {
        match File::create_new(self.folder.join("first")) {
            Ok(_) => Ok(Part::First(self)),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                // So that what it makes of the time is greater than what the first one made of it.
                Self::wait("the first one has not read", || Ok(self.folder.join("first-has-read").exists()))?;
                Ok(Part::Other(self))
            }
            Err(error) => Err(error),
        }
    }

    fn mark(&self, what: &str) -> Result<()> {
        fs::write(self.folder.join(what), "")
    }

    fn count(&self, what: &str) -> Result<usize> {
        let names = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.file_name()));
        let names = names.collect::<Result<Vec<_>>>()?;
        Ok(names.iter().filter(|name| name.to_string_lossy().starts_with(what)).count())
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "it is a process of its own that waits, with nothing else to do"
    )]
    fn wait(what: &str, is_over: impl Fn() -> Result<bool>) -> Result<()> {
        let pause = Duration::from_millis(1);
        for _ in 0..LONGEST.as_millis() / pause.as_millis() {
            if is_over()? {
                return Ok(());
            }
            std::thread::sleep(pause);
        }
        Err(Error::new(ErrorKind::TimedOut, what.to_owned()))
    }
}

impl Part<'_> {
    /// Between the read and the write.
    pub(super) fn has_read(&self) -> Result<()> {
        match self {
            Self::First(race) => {
                race.mark("first-has-read")?;
                let all = race.count("joined-")?;
                Race::wait("the others have not written", || Ok(race.count("written-")? + 1 >= all))
            }
            Self::Other(_) => Ok(()),
        }
    }

    /// After the write.
    pub(super) fn has_written(&self) -> Result<()> {
        match self {
            Self::First(_) => Ok(()),
            Self::Other(race) => race.mark(&format!("written-{}", std::process::id())),
        }
    }
}
