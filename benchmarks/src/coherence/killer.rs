//! Kills the connections on which a server tells of changes, at random moments.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use stanchion::random::{Random, SystemRandom};
use stanchion_conformance::servers::Link;
use tokio::task::JoinHandle;

use crate::Failure;
use crate::server::Server;
use crate::timing::pause;

pub(super) struct Killer {
    kills: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
    task: JoinHandle<Result<(), Failure>>,
}

impl Killer {
    pub(super) fn of(server: &Server) -> Self {
        let (kills, stopped) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let masters = server.nodes().iter().map(|node| node.addr()).collect();
        let task = tokio::spawn(kill(masters, Arc::clone(&kills), Arc::clone(&stopped)));
        Self { kills, stopped, task }
    }

    pub(super) fn kills(&self) -> usize {
        self.kills.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
        self.task.abort();
    }
}

impl Drop for Killer {
    fn drop(&mut self) {
        self.stop();
    }
}

async fn kill(
    masters: Vec<SocketAddr>,
    kills: Arc<AtomicUsize>,
    stopped: Arc<AtomicBool>,
) -> Result<(), Failure> {
    while !stopped.load(Ordering::Relaxed) {
        let mut chance = [0; 2];
        SystemRandom.fill(&mut chance)?;
        pause(Duration::from_millis(20 + u64::from(chance[0]) * 100 / 255)).await;
        let mut link = Link::connect(masters[usize::from(chance[1]) % masters.len()]).await?;
        let list = link.ask(&["CLIENT", "LIST"]).await?.text();
        for id in list.lines().filter_map(tracking) {
            let killed = link.ask(&["CLIENT", "KILL", "ID", id]).await?;
            kills.fetch_add(usize::from(killed.int() == Some(1)), Ordering::Relaxed);
        }
    }
    Ok(())
}

/// The id of a connection that is told of changes.
fn tracking(line: &str) -> Option<&str> {
    let field = |name: &str| line.split(' ').find_map(|field| field.strip_prefix(name));
    field("flags=").filter(|flags| flags.contains('t')).and(field("id="))
}
