//! The processes of a stampede: this binary again.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::mpsc;

use super::child::{LOADING, READY, Told};
use crate::Failure;
use crate::timing::now;

pub(crate) struct Processes {
    children: Vec<(Child, ChildStdin)>,
    /// What they say, each line with who says it; `None` at the end.
    lines: mpsc::UnboundedReceiver<(usize, Option<String>)>,
}

impl Processes {
    /// Starts them in this role of this kind, and waits until all are ready.
    pub(crate) async fn start(count: usize, kind: &str, role: &str, url: &str) -> Result<Self, Failure> {
        let (sender, lines) = mpsc::unbounded_channel();
        let mut processes = Self { children: Vec::new(), lines };
        for number in 0..count {
            let mut child = Command::new(std::env::current_exe()?)
                .args([kind, role, url])
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .kill_on_drop(true)
                .spawn()?;
            let output = child.stdout.take().ok_or("no output")?;
            tokio::spawn(listen(number, output, sender.clone()));
            let input = child.stdin.take().ok_or("no input")?;
            processes.children.push((child, input));
        }
        for _ in 0..count {
            let (number, line) = processes.next().await?;
            if line.as_deref() != Some(READY) {
                return Err(format!("process {number} says {line:?}").into());
            }
        }
        Ok(processes)
    }

    async fn next(&mut self) -> Result<(usize, Option<String>), Failure> {
        self.lines.recv().await.ok_or_else(|| "all processes have ended".into())
    }

    /// Lets all ask at once; `kill`: the first that loads is killed. What those that live on say at their ends, and
    /// how long after the start the second load began.
    pub(crate) async fn go(&mut self, kill: bool) -> Result<(Vec<Told>, Option<Duration>), Failure> {
        let begun = now();
        for (_, input) in &mut self.children {
            input.write_all(b"go\n").await?;
        }
        let (mut told, mut loading, mut second_load, mut killed) = (Vec::new(), 0, None, None);
        let mut ended = 0;
        while ended < self.children.len() {
            let (number, line) = self.next().await?;
            match line.as_deref() {
                Some(LOADING) => {
                    loading += 1;
                    if loading == 1 && kill {
                        // SIGKILL.
                        self.children[number].0.kill().await?;
                        killed = Some(number);
                    } else if loading == 2 {
                        second_load = Some(begun.elapsed());
                    }
                }
                Some(line) if killed != Some(number) => told.push(serde_json::from_str(line)?),
                Some(_) => {}
                None => ended += 1,
            }
        }
        Ok((told, second_load))
    }
}

async fn listen(
    number: usize,
    output: ChildStdout,
    lines: mpsc::UnboundedSender<(usize, Option<String>)>,
) -> std::io::Result<()> {
    let mut output = BufReader::new(output).lines();
    while let Some(line) = output.next_line().await? {
        // Nobody listens any more if the run has failed.
        let _ = lines.send((number, Some(line)));
    }
    let _ = lines.send((number, None));
    Ok(())
}
