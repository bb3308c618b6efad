//! What there is of everything that must not grow.

use std::fmt;
use std::fs;
use std::time::Duration;

use stanchion_conformance::servers::{RedisProcess, Reply};

use crate::Failure;
use crate::server::Server;
use crate::timing::pause;

/// Counts of this process and of the servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sample {
    tasks: usize,
    threads: usize,
    descriptors: usize,
    clients: usize,
    keys: usize,
    memory: usize,
}

impl Sample {
    pub(super) const TASKS: fn(&Self) -> usize = |sample| sample.tasks;
    pub(super) const THREADS: fn(&Self) -> usize = |sample| sample.threads;
    pub(super) const DESCRIPTORS: fn(&Self) -> usize = |sample| sample.descriptors;
    pub(super) const CLIENTS: fn(&Self) -> usize = |sample| sample.clients;
    pub(super) const KEYS: fn(&Self) -> usize = |sample| sample.keys;
    pub(super) const MEMORY: fn(&Self) -> usize = |sample| sample.memory;

    async fn of(server: &Server) -> Result<Self, Failure> {
        let (mut clients, mut keys) = (0, 0);
        for node in server.nodes() {
            clients += clients_of(node).await?;
            keys += number(&node.command(&["DBSIZE"]).await?)?;
        }
        Ok(Self {
            tasks: tokio::runtime::Handle::current().metrics().num_alive_tasks(),
            threads: status("Threads:")?,
            descriptors: fs::read_dir("/proc/self/fd")?.count(),
            clients,
            keys,
            memory: status("VmRSS:")?,
        })
    }

    /// Whether nothing is on its way out any more.
    fn is_as_quiet_as(&self, earlier: &Self) -> bool {
        (self.tasks, self.descriptors, self.clients) == (earlier.tasks, earlier.descriptors, earlier.clients)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { tasks, threads, descriptors, clients, keys, memory } = self;
        write!(
            f,
            "{tasks} tasks, {threads} threads, {descriptors} descriptors, {clients} clients, {keys} keys, {memory} KiB"
        )
    }
}

/// What is left when it has been the same for half a second.
pub(super) async fn settled(server: &Server) -> Result<Sample, Failure> {
    const LOOKS: usize = 100;
    let mut same = 0;
    let mut last = Sample::of(server).await?;
    for _ in 0..LOOKS {
        pause(Duration::from_millis(100)).await;
        let next = Sample::of(server).await?;
        same = if next.is_as_quiet_as(&last) { same + 1 } else { 0 };
        last = next;
        if same == 5 {
            return Ok(last);
        }
    }
    Err(format!("it does not come to rest: {last}").into())
}

/// The keys that are left when none has ended for five seconds: servers delete those that have little by little.
pub(super) async fn keys_at_rest(server: &Server) -> Result<usize, Failure> {
    let mut last = Sample::of(server).await?.keys;
    loop {
        pause(Duration::from_secs(5)).await;
        let next = Sample::of(server).await?.keys;
        if next >= last {
            return Ok(next);
        }
        last = next;
    }
}

/// The clients of a server but for the one that asks, and other nodes.
async fn clients_of(node: &RedisProcess) -> Result<usize, Failure> {
    let list = node.command(&["CLIENT", "LIST"]).await?;
    let Reply::Text(list) = list else { return Err(format!("no list of clients: {list:?}").into()) };
    let lines = String::from_utf8_lossy(&list);
    Ok(lines.lines().filter(|line| !line.contains("cmd=client|list")).count())
}

fn number(reply: &Reply) -> Result<usize, Failure> {
    match reply {
        Reply::Int(number) => Ok(usize::try_from(*number)?),
        other => Err(format!("no number: {other:?}").into()),
    }
}

/// A line of the system's account of this process.
fn status(name: &str) -> Result<usize, Failure> {
    let text = fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("the system does not say")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
