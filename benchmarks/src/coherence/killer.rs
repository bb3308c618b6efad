//! Kills the connections on which a server tells of changes, at random moments.

use std::net::SocketAddr;
use std::time::Duration;

use stanchion::random::{Random, SystemRandom};
use stanchion_conformance::servers::{Link, RedisProcess};
use tokio::task::JoinHandle;

use crate::Failure;
use crate::server::Server;
use crate::timing::pause;

pub(super) struct Killer(JoinHandle<Result<usize, Failure>>);

impl Killer {
    /// Kills so often, now on one master and now on another, and ends.
    pub(super) fn of(server: &Server, times: usize) -> Self {
        let masters = server.nodes().iter().map(RedisProcess::addr).collect();
        Self(tokio::spawn(kill(masters, times)))
    }

    pub(super) fn is_finished(&self) -> bool {
        self.0.is_finished()
    }

    /// How many connections were killed.
    pub(super) async fn ended(self) -> Result<usize, Failure> {
        self.0.await?
    }
}

async fn kill(masters: Vec<SocketAddr>, times: usize) -> Result<usize, Failure> {
    let mut kills = 0;
    while kills < times {
        let mut chance = [0; 2];
        SystemRandom.fill(&mut chance)?;
        pause(Duration::from_millis(20 + u64::from(chance[0]))).await;
        let mut link = Link::connect(masters[usize::from(chance[1]) % masters.len()]).await?;
        let list = link.ask(&["CLIENT", "LIST"]).await?.text();
        for id in list.lines().filter_map(tracking) {
            let killed = link.ask(&["CLIENT", "KILL", "ID", id]).await?;
            kills += usize::from(killed.int() == Some(1));
        }
    }
    Ok(kills)
}

/// The id of a connection that receives changes: by tracking, or as a subscriber.
fn tracking(line: &str) -> Option<&str> {
    let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name));
    field("flags=").filter(|flags| flags.contains(['t', 'P'])).and(field("id="))
}
