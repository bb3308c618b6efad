//! Log-ins of one user at once, against a limit.

use std::time::Duration;

use futures_util::future::try_join_all;
use stanchion::session::{Patch, SessionLimit, Sessions};
use stanchion_redis::Invalidation;

use crate::report::{Report, Row};
use crate::server::Server;
use crate::timing::count;
use crate::{Failure, machine};

const METHOD: &str = "64 log-ins of one user at once, 16 on each of four backends with connections of their own, with a limit of 3 sessions; \
1,000 rounds on a Cluster of 3 masters and as many on one server, each with another user. Half of the rounds evict the oldest \
session, half reject the log-in. After each round the sessions of the user are counted that open: by their secrets, and in the list. \
Judged are the most in any round, and the rounds with fewer than 3.";

const ROUNDS: usize = 1_000;
const LOG_INS: usize = 64;
const BACKENDS: usize = 4;
const LIMIT: u32 = 3;
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn run() -> Result<Report, Failure> {
    let mut rows = Vec::new();
    let mut version = String::new();
    for server in [Server::cluster().await?, Server::standalone().await?] {
        version = server.version().await?;
        let (mut most, mut fewer) = (0, 0);
        for limit in [SessionLimit::EvictOldest(LIMIT), SessionLimit::Reject(LIMIT)] {
            let mut instances = Vec::new();
            for _ in 0..BACKENDS {
                let stores = server.stores(PATIENCE, Invalidation::Tracking).await?;
                instances.push(stores.sessions().limit(limit).build()?);
            }
            for round in 0..ROUNDS / 2 {
                let live = round_of(&instances, &format!("{limit:?}-{round}")).await?;
                most = most.max(live);
                fewer += usize::from(live < LIMIT as usize);
            }
        }
        let name = server.name();
        let sessions = Row::count(format!("{name}: most sessions of a user"), "sessions", count(most));
        rows.push(sessions.at_most(f64::from(LIMIT)));
        rows.push(Row::count(format!("{name}: rounds with fewer"), "rounds", count(fewer)).at_most(0.0));
    }
    let crates = machine::versions(&["redis", "tokio", "stanchion"]);
    Ok(Report::new("session-limit", format!("Redis {version}, {crates}"), METHOD, rows))
}

/// How many sessions a user has after this many log-ins at once.
async fn round_of(instances: &[Sessions], user: &str) -> Result<usize, Failure> {
    let log_ins = (0..LOG_INS).map(|n| instances[n % BACKENDS].create(user, Patch::new()));
    let opened = try_join_all(log_ins).await?;
    let mut live = 0;
    for opened in opened.into_iter().flatten() {
        live += usize::from(instances[0].load(&opened.token).await?.is_some());
    }
    let listed = instances[0].list(user).await?.len();
    if listed != live {
        return Err(format!("{listed} sessions of {user} are listed, {live} open").into());
    }
    Ok(live)
}
