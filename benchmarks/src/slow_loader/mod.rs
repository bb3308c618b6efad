//! What callers pay for a loader that hangs, fails or is slow: with a cache, with another, and without.

mod child;

use std::time::Duration;

use stanchion_conformance::servers::RedisProcess;

pub(crate) use self::child::{CHILD, child};
use self::child::{Case, FAILS_AFTER, LOAD, Side, TAKES, WAIT};
use crate::report::{Report, Row};
use crate::stampede::processes::Processes;
use crate::timing::{count, millis};
use crate::{Failure, machine};

const METHOD: &str = "2 processes, 100 callers in each. (a) All ask for one cold key; the first loader of all hangs, later ones \
take 100 ms; the `wait_timeout` is what it is unless set, 6 seconds. The caller whose own loader hangs is left out. (b) The same with a loader that fails \
after 2 seconds. (c) 5,000 stale keys, each asked for once, 5,000 a second in each process, with a loader that takes 10 seconds. The \
peers are `moka` (`try_get_with`, one in each process) and no cache at all: each caller runs its loader. What has not been answered \
after 12 seconds counts as 12. Loads at once are the sum of what each process has at most. Less is better: never more than without \
a cache, but for the `wait_timeout` in (a).";

const PROCESSES: usize = 2;
/// What two cores need to wake everybody.
const MARGIN: Duration = Duration::from_millis(100);

pub(crate) async fn run() -> Result<Report, Failure> {
    let server = RedisProcess::start().await?;
    let mut rows = Vec::new();
    for case in [Case::Hangs, Case::Fails, Case::Slow] {
        let ours = ask(&server, Side::Ours, case).await?;
        let bare = ask(&server, Side::Bare, case).await?;
        let moka = ask(&server, Side::Moka, case).await?;
        let (what, longest, most) = match case {
            Case::Hangs => ("(a) hangs", millis(WAIT + LOAD + MARGIN), bare.most),
            Case::Fails => ("(b) fails", millis(FAILS_AFTER + MARGIN), bare.most),
            Case::Slow => ("(c) takes 10 s", millis(TAKES), bare.most),
        };
        for (peer, theirs) in [("no cache", &bare), ("moka", &moka)] {
            let row = Row::count(format!("{what}: the longest wait"), "ms", ours.longest);
            rows.push(row.beside(peer, theirs.longest).at_most(longest));
            let row = Row::count(format!("{what}: loads at once"), "loads", ours.most);
            rows.push(row.beside(peer, theirs.most).at_most(most));
            let row = Row::count(format!("{what}: loads in all"), "loads", ours.loads);
            rows.push(row.beside(peer, theirs.loads).at_most(bare.loads));
        }
    }
    let crates = machine::versions(&["moka", "tokio", "stanchion"]);
    Ok(Report::new("slow-loader", format!("Redis {}, {crates}", server.version().await?), METHOD, rows))
}

struct Outcome {
    longest: f64,
    most: f64,
    loads: f64,
}

async fn ask(server: &RedisProcess, side: Side, case: Case) -> Result<Outcome, Failure> {
    server.command(&["FLUSHALL"]).await?;
    let role = format!("{}-{}", side.name(), case.name());
    let (told, _) = Processes::start(PROCESSES, CHILD, &role, &server.url()).await?.go(false).await?;
    let longest = told.iter().map(|told| told.longest_micros).max().ok_or("no process has answered")?;
    Ok(Outcome {
        longest: millis(Duration::from_micros(longest)),
        most: count(told.iter().map(|told| told.most).sum()),
        loads: count(told.iter().map(|told| told.loads).sum()),
    })
}
