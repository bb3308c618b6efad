//! Another process: the test binary again, told by its environment what to be. It can be killed, which a task
//! can't.

use std::process::{ExitCode, Stdio};
use std::time::Duration;

use stanchion::key::Key;
use stanchion::lock::{AcquireOutcome, LockRequest, LockToken};
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{ChildStdout, Command};

use crate::check::fail;
use crate::{Failure, Harness, Outcome, Place};

/// The name of the harness, the place, and the role with its arguments, with blanks between.
const VARIABLE: &str = "STANCHION_CHILD";

/// A process that has not said what it should by then never will.
const LONGEST: Duration = Duration::from_secs(30);

/// What a child is. It says one line, and then lives until it is killed or its parent ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Role {
    /// Takes a lock, and says its fence.
    LockHolder { name: String, lease: Ttl },
}

impl Role {
    fn text(&self) -> String {
        match self {
            Self::LockHolder { name, lease } => format!("lock-holder {name} {}", lease.as_millis()),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        match (words.next()?, words.next()?, words.next()?, words.next()) {
            ("lock-holder", name, lease, None) => {
                let lease = Ttl::from_millis(lease.parse().ok()?).ok()?;
                Some(Self::LockHolder { name: name.to_owned(), lease })
            }
            _ => None,
        }
    }

    async fn play(&self, stores: &Stores) -> Outcome<String> {
        match self {
            Self::LockHolder { name, lease } => {
                let (key, token) = (Key::new("locks", "lock", name)?, LockToken::new([255; 16]));
                match stores.locker()?.acquire(&LockRequest::new(key, token, *lease)).await? {
                    AcquireOutcome::Acquired(lease) => Ok(lease.fence.to_string()),
                    busy @ AcquireOutcome::Busy { .. } => fail("the lock is free", busy),
                }
            }
        }
    }
}

/// A child process; killed when it is dropped.
pub(crate) struct Child {
    process: tokio::process::Child,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program again, in this role.
    pub(crate) fn start(harness: &dyn Harness, place: &Place, role: &Role) -> Outcome<Self> {
        let Some(environment) = harness.child_environment() else {
            return Err(Failure::Ignored(format!(
                "the places of {} can't be opened by another process",
                harness.name()
            )));
        };
        let broken = |what: &str| Failure::Broken(format!("no other process: {what}"));
        let program = std::env::current_exe().map_err(|error| broken(&error.to_string()))?;
        let mut process = Command::new(program)
            .env(VARIABLE, format!("{} {} {}", harness.name(), place.prefix(), role.text()))
            .envs(environment)
            // It ends when this pipe does, that is, with its parent at the latest.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| broken(&error.to_string()))?;
        let output = process.stdout.take().ok_or_else(|| broken("it has no output"))?;
        Ok(Self { process, output: BufReader::new(output) })
    }

    /// What it says.
    pub(crate) async fn line(&mut self) -> Outcome<String> {
        let mut line = String::new();
        match tokio::time::timeout(LONGEST, self.output.read_line(&mut line)).await {
            Ok(Ok(length)) if length > 0 => Ok(line.trim_end().to_owned()),
            Ok(Ok(_)) => Err(Failure::Broken("the other process ended; see what it wrote".to_owned())),
            Ok(Err(error)) => Err(Failure::Broken(format!("the other process can't be heard: {error}"))),
            Err(_) => Err(Failure::Broken(format!("the other process said nothing within {LONGEST:?}"))),
        }
    }

    /// SIGKILL: it does nothing more.
    pub(crate) async fn kill(mut self) -> Outcome {
        self.process.kill().await.map_err(|error| Failure::Broken(format!("it can't be killed: {error}")))
    }
}

/// What a child is to do, if this process is one. A test binary with a `main` of its own asks this first;
/// [`main`](crate::main) does.
pub fn run_child<H: Harness>(harnesses: &[H]) -> Option<ExitCode> {
    let told = std::env::var(VARIABLE).ok()?;
    Some(match play(harnesses, &told) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("as another process, {told}: {why}");
            ExitCode::FAILURE
        }
    })
}

fn play<H: Harness>(harnesses: &[H], told: &str) -> Result<(), String> {
    let mut words = told.splitn(3, ' ');
    let mut word = || words.next().unwrap_or_default();
    let (name, place, role) = (word(), word(), word());
    let harness =
        harnesses.iter().find(|harness| harness.name() == name).ok_or("there is no such harness")?;
    let place = Place::named(place).map_err(|error| error.to_string())?;
    let role = Role::read(role).ok_or("there is no such role")?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let _stores = runtime.block_on(async {
        harness.prepare().await.map_err(|missing| missing.reason)?;
        let stores = harness.open(&place).await.map_err(|error| error.to_string())?;
        println!("{}", role.play(&stores).await.map_err(|failure| failure.to_string())?);
        Ok::<_, String>(stores)
    })?;
    // Until it is killed, or its parent is gone.
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink()).map(drop).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reads_what_it_writes() {
        let role = Role::LockHolder { name: "a1".to_owned(), lease: Ttl::MIN };
        assert_eq!(Role::read(&role.text()), Some(role));
        for bad in ["", "lock-holder", "lock-holder a", "lock-holder a 0", "lock-holder a 1 2", "other a 1"] {
            assert_eq!(Role::read(bad), None, "{bad:?}");
        }
    }
}
