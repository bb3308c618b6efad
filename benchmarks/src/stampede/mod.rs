//! How often a value is loaded that thousands of callers in several processes want at once.

pub(crate) mod child;
pub(crate) mod processes;

use std::time::Duration;

use stanchion_conformance::servers::RedisProcess;

use self::child::{CHILD, LOADS, Role};
use self::processes::Processes;
use crate::report::{Report, Row};
use crate::timing::{count, millis};
use crate::{Failure, machine};

const METHOD: &str = "4 processes, 1,000 tasks in each, all ask for one cold key at once; the loader takes 200 ms, and \
counts itself in Redis. Then again, and the process whose loader has begun is killed (SIGKILL) at once; the lease is 2 seconds. \
Nobody may wait for it longer than the lease and a round trip, with 50 ms allowed for two \
cores that wake 3,000 tasks: that is when the second load has to have begun, and 200 ms later everybody to be \
served. The peer is one `moka` `get_with` in each process, in front of the bare `redis` crate. Less is better.";

const PROCESSES: usize = 4;
const TASKS: usize = 1_000;
const LEASE: Duration = Duration::from_secs(2);
const LOAD: Duration = Duration::from_millis(200);
const MARGIN: Duration = Duration::from_millis(50);

pub(crate) async fn run() -> Result<Report, Failure> {
    let server = RedisProcess::start().await?;
    let what = format!("{PROCESSES} processes, {TASKS} tasks each");
    let mut rows = Vec::new();

    let peer = stampede(&server, Role::Moka, false).await?;
    let ours = stampede(&server, Role::Cache, false).await?;
    let row = Row::count(format!("{what}: loads"), "loads", ours.loads);
    rows.push(row.beside("moka and redis", peer.loads).at_most(1.0));
    let row = Row::count(format!("{what}: the longest wait"), "ms", millis(ours.longest));
    rows.push(row.beside("moka and redis", millis(peer.longest)));

    let ours = stampede(&server, Role::Cache, true).await?;
    rows.push(Row::count("the loading process killed: loads", "loads", ours.loads).at_most(2.0));
    let begun = ours.second_load.ok_or("there was no second load")?;
    let row = Row::count("the loading process killed: until the second load began", "ms", millis(begun));
    rows.push(row.at_most(millis(LEASE + MARGIN)));
    let row = Row::count("the loading process killed: the longest wait", "ms", millis(ours.longest));
    rows.push(row.at_most(millis(LEASE + LOAD + MARGIN)));

    let crates = machine::versions(&["redis", "moka", "tokio", "stanchion"]);
    Ok(Report::new("stampede", format!("Redis {}, {crates}", server.version().await?), METHOD, rows))
}

struct Outcome {
    loads: f64,
    /// The longest that any caller in a process that lives on had to wait.
    longest: Duration,
    /// From the start until the second load began.
    second_load: Option<Duration>,
}

async fn stampede(server: &RedisProcess, role: Role, kill: bool) -> Result<Outcome, Failure> {
    server.command(&["FLUSHALL"]).await?;
    let mut processes = Processes::start(PROCESSES, CHILD, role.name(), &server.url()).await?;
    let (told, second_load) = processes.go(kill).await?;
    let served: usize = told.iter().map(|told| told.served).sum();
    let expected = TASKS * (PROCESSES - usize::from(kill));
    if served != expected {
        return Err(format!("{served} of {expected} callers were served").into());
    }
    let loads = server.command(&["GET", LOADS]).await?.text().parse()?;
    let longest =
        told.iter().map(|told| Duration::from_micros(told.longest_micros)).max().unwrap_or_default();
    if loads == 0 {
        return Err("nothing was loaded".into());
    }
    Ok(Outcome { loads: count(loads), longest, second_load })
}
