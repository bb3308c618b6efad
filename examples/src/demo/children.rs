//! A service as a child process, which never outlives this one.

use std::process::Stdio;

use stanchion::environment::Environment;
use stanchion::prelude::*;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{self, Command};

use crate::service::BoxError;

/// It holds the other end of the child's standard input. The child ends when that pipe does: in order at
/// [`stop`](Self::stop), and by itself if this process is killed. Dropping it kills the child.
pub(super) struct Child {
    name: String,
    pub(super) url: String,
    process: process::Child,
}

impl Child {
    /// Starts this program as one service on a free port, and waits until it says where it listens.
    pub(super) async fn start(words: &[&str], variables: &[(&str, &str)]) -> Result<Self, BoxError> {
        let name = words.first().copied().unwrap_or_default().to_owned();
        let mut process = Command::new(std::env::current_exe()?)
            .args(words)
            .args(["--port", "0", "--until-eof"])
            .envs(variables.iter().copied())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let stdout = process.stdout.take().ok_or("a piped stdout is there once")?;
        // Its errors go to the standard error that it shares with this process.
        let line = BufReader::new(stdout).lines().next_line().await?;
        let url =
            line.as_deref().and_then(|line| line.split_once(" listens on ")).map(|(_, url)| url.to_owned());
        let url = url.ok_or_else(|| format!("the {name} did not start"))?;
        Ok(Self { name, url, process })
    }

    /// Ends it in order; kills it if that takes too long.
    pub(super) async fn stop(mut self) -> Result<(), BoxError> {
        drop(self.process.stdin.take());
        let environment = Environment::system();
        tokio::select! {
            ended = self.process.wait() => match ended? {
                status if status.success() => Ok(()),
                status => Err(format!("the {} ended with {status}", self.name).into()),
            },
            () = environment.sleep(seconds(20)) => {
                self.process.kill().await?;
                Err(format!("the {} did not end and was killed", self.name).into())
            }
        }
    }
}
