//! Another process: the test binary again, told by its environment which place to open. It can be killed, which a
//! task can't, and shares no mutex with this one.
//!
//! It says that it is ready, and then does one [`Task`] for each line that it reads, so that several of them begin at
//! the same time: they are open and warm, and wait for nothing but the line.

mod play;
mod task;

use std::io::{BufRead, stdin};
use std::process::{ExitCode, Stdio};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, ChildStdout, Command};

pub(crate) use self::task::{Held, Task};
use crate::case::with_sources;
use crate::{Failure, Harness, Outcome, Place};

/// The name of the harness and the place, with a blank between.
const VARIABLE: &str = "STANCHION_CHILD";

/// What begins a line that is meant for the parent: a backend may write lines of its own.
const MARK: &str = "stanchion-child ";

/// A process that has not said what it should by then never will.
const LONGEST: Duration = Duration::from_secs(30);

/// What a task came to, as a line.
#[derive(Debug, serde::Serialize, serde::Deserialize)]
enum Said {
    Ready,
    Done(serde_json::Value),
    Failed { expected: String, observed: String },
    Broken(String),
}

/// A child process; killed when it is dropped.
pub(crate) struct Child {
    process: tokio::process::Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Child {
    /// Starts this program again, on the same place, and waits until it has opened it.
    pub(crate) async fn start(harness: &dyn Harness, place: &Place) -> Outcome<Self> {
        let Some(environment) = harness.child_environment() else {
            return Err(Failure::Ignored(format!(
                "the places of {} can't be opened by another process",
                harness.name()
            )));
        };
        let broken = |error| Failure::broken("no other process", &error);
        let mut process = Command::new(std::env::current_exe().map_err(broken)?)
            .env(VARIABLE, format!("{} {}", harness.name(), place.prefix()))
            .envs(environment)
            // It ends when this pipe does, that is, with its parent at the latest.
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(broken)?;
        let pipes = process.stdin.take().zip(process.stdout.take());
        let (input, output) = pipes.ok_or_else(|| Failure::Broken("another process has no pipes".into()))?;
        let mut child = Self { process, input, output: BufReader::new(output) };
        match child.said().await? {
            Said::Ready => Ok(child),
            other => Err(Failure::Broken(format!("another process can't begin: {other:?}"))),
        }
    }

    /// Gives it a task; it begins at once.
    pub(crate) async fn give(&mut self, task: &Task) -> Outcome {
        let line = serde_json::to_string(task).map_err(|error| Failure::broken("a task", &error))? + "\n";
        let given = async {
            self.input.write_all(line.as_bytes()).await?;
            self.input.flush().await
        };
        given.await.map_err(|error| Failure::broken("the other process takes no task", &error))
    }

    /// What came of the task that it was given.
    pub(crate) async fn result<T: DeserializeOwned>(&mut self) -> Outcome<T> {
        match self.said().await? {
            Said::Done(value) => {
                serde_json::from_value(value).map_err(|error| Failure::broken("the result of a task", &error))
            }
            Said::Failed { expected, observed } => Err(Failure::Failed { expected, observed }),
            Said::Broken(why) => Err(Failure::Broken(format!("in another process, {why}"))),
            Said::Ready => Err(Failure::Broken("another process began twice".into())),
        }
    }

    async fn said(&mut self) -> Outcome<Said> {
        loop {
            let mut line = String::new();
            match tokio::time::timeout(LONGEST, self.output.read_line(&mut line)).await {
                Ok(Ok(length)) if length > 0 => {}
                Ok(Ok(_)) => {
                    return Err(Failure::Broken("the other process ended; see what it wrote".to_owned()));
                }
                Ok(Err(error)) => return Err(Failure::broken("the other process can't be heard", &error)),
                Err(_) => {
                    let why = format!("the other process said nothing within {LONGEST:?}");
                    return Err(Failure::Broken(why));
                }
            }
            if let Some(said) = line.strip_prefix(MARK) {
                return serde_json::from_str(said)
                    .map_err(|error| Failure::broken("what another process said", &error));
            }
        }
    }

    /// SIGKILL: it does nothing more.
    pub(crate) async fn kill(mut self) -> Outcome {
        self.process.kill().await.map_err(|error| Failure::broken("it can't be killed", &error))
    }
}

/// Gives each process its task, all at once, and answers what came of each.
pub(crate) async fn race<T: DeserializeOwned>(
    children: &mut [Child],
    task: impl Fn(usize) -> Task,
) -> Outcome<Vec<T>> {
    for (n, child) in children.iter_mut().enumerate() {
        child.give(&task(n)).await?;
    }
    // Of all of them, so that none is at work any more whatever came of it.
    let mut results = Vec::with_capacity(children.len());
    for child in children {
        results.push(child.result().await);
    }
    results.into_iter().collect()
}

/// What a child is to do, if this process is one. A test binary with a `main` of its own asks this first;
/// [`main`](crate::main) does.
pub fn run_child<H: Harness>(harnesses: &[H]) -> Option<ExitCode> {
    let told = std::env::var(VARIABLE).ok()?;
    Some(match work(harnesses, &told) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("as another process, {told}: {why}");
            ExitCode::FAILURE
        }
    })
}

fn work<H: Harness>(harnesses: &[H], told: &str) -> Result<(), String> {
    let (name, place) = told.split_once(' ').ok_or("a harness and a place are wanted")?;
    let harness =
        harnesses.iter().find(|harness| harness.name() == name).ok_or("there is no such harness")?;
    let place = Place::named(place).map_err(|error| with_sources(&error))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| with_sources(&error))?;
    let stores = runtime.block_on(async {
        harness.prepare().await.map_err(|missing| missing.reason)?;
        harness.open(&place).await.map_err(|error| with_sources(&error))
    })?;
    say(&Said::Ready)?;
    // Until it is killed, or its parent is gone.
    for line in stdin().lock().lines() {
        let line = line.map_err(|error| with_sources(&error))?;
        let task: Task = serde_json::from_str(&line).map_err(|error| with_sources(&error))?;
        say(&match runtime.block_on(play::play(task, &stores)) {
            Ok(value) => Said::Done(value),
            Err(Failure::Failed { expected, observed }) => Said::Failed { expected, observed },
            Err(Failure::Broken(why) | Failure::Ignored(why)) => Said::Broken(why),
        })?;
    }
    Ok(())
}

fn say(said: &Said) -> Result<(), String> {
    println!("{MARK}{}", serde_json::to_string(said).map_err(|error| with_sources(&error))?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_task_reads_what_it_writes() {
        let task = Task::Acquire { name: "a\n1".to_owned(), token: 1, lease: Duration::from_millis(7) };
        let line = serde_json::to_string(&task).unwrap();
        assert!(!line.contains('\n'), "one line: {line}");
        let read: Task = serde_json::from_str(&line).unwrap();
        assert_eq!(read, task);
    }
}
