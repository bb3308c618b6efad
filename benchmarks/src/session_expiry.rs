//! Sessions whose time is over while nobody runs.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use stanchion::event::{Received, SubscribeOptions};
use stanchion::key::Name;
use stanchion::session::{Patch, SessionEvents, SessionLimit, Sessions};
use stanchion::stores::Stores;
use stanchion_conformance::servers::Reply;
use stanchion_redis::Invalidation;
use tokio::task::JoinSet;

use crate::report::{Report, Row};
use crate::server::Server;
use crate::timing::{count, now, pause, rate};
use crate::{Failure, machine};

const METHOD: &str = "A service opens sessions (100,000 unless `STANCHION_SESSIONS` says how many), two for each user, with 64 tasks, and is \
closed. Their time is over while no process runs, and their keys are gone from the server. Then a process starts that reaps \
and publishes, and another that subscribes with the largest buffer. Counted: sessions of whose end no event came; keys of the \
sessions that are left then, among them indexes and outboxes; what the server's memory has grown by since before the first \
session, for each of them. Then nothing is due for ten turns: what a turn costs the server, by `INFO commandstats`. Judged \
are the first three.";

const TASKS: usize = 64;
const IDLE_TURNS: u32 = 10;
const TURN: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_mins(15);

pub(crate) async fn run() -> Result<Report, Failure> {
    let sessions = match std::env::var("STANCHION_SESSIONS") {
        Ok(text) => text.parse()?,
        Err(_) => 100_000,
    };
    let mut rows = Vec::new();
    let mut version = String::new();
    for server in [Server::standalone().await?, Server::cluster().await?] {
        version = server.version().await?;
        expire(&server, sessions, &mut rows).await?;
    }
    let crates = machine::versions(&["redis", "tokio", "stanchion"]);
    Ok(Report::new("session-expiry", format!("Redis {version}, {crates}"), METHOD, rows))
}

async fn expire(server: &Server, sessions: usize, rows: &mut Vec<Row>) -> Result<(), Failure> {
    let name = server.name();
    // What connecting and the scripts take is there before and afterwards.
    let first = service(server).await?;
    let warm = publishing(&first, Duration::from_secs(1)).build()?;
    open(&warm, "warm").await?;
    pause(TURN * 5).await;
    let before = memory(server).await?;

    // Opening takes a part of it.
    let life = Duration::from_secs(20) + Duration::from_micros(100) * u32::try_from(sessions)?;
    let opening = publishing(&first, life).build()?;
    let begun = now();
    open_all(&opening, sessions).await?;
    let opened = rate(sessions, begun.elapsed());
    rows.push(Row::count(format!("{name}: opened"), "sessions/s", opened));
    let full = memory(server).await?;
    rows.push(Row::count(format!("{name}: memory of a session"), "bytes", (full - before) / count(sessions)));
    drop((warm, opening));
    first.close(Duration::from_secs(10)).await?;
    // Until the last one is over, and its key has gone by itself.
    pause(life + Duration::from_secs(2)).await;

    let (listening, reaping) = (service(server).await?, service(server).await?);
    let options = SubscribeOptions::new(Name::new("auth")?).buffer(SubscribeOptions::MAX_BUFFER)?;
    let mut events = listening.event_bus()?.subscribe(options).await?;
    let begun = now();
    let reaper = publishing(&reaping, life).build()?;
    let (mut ended, mut delivered) = (HashSet::new(), 0_usize);
    let receiving = async {
        while ended.len() < sessions {
            match events.next().await {
                Some(Received::Event(event)) if event.data["reason"] == "timed_out" => {
                    delivered += 1;
                    ended.insert(event.data["session_id"].to_string());
                }
                Some(Received::Event(_)) => {}
                other => return Err(Failure::from(format!("not an event: {other:?}"))),
            }
        }
        Ok(())
    };
    // What is missing after that is counted.
    if let Ok(received) = tokio::time::timeout(PATIENCE, receiving).await {
        received?;
    }
    let took = begun.elapsed();
    let missing = count(sessions - ended.len());
    rows.push(Row::count(format!("{name}: sessions without an event"), "sessions", missing).at_most(0.0));
    rows.push(Row::count(
        format!("{name}: events for each session"),
        "events",
        count(delivered) / count(sessions),
    ));
    rows.push(Row::count(format!("{name}: ended and published"), "sessions/s", rate(sessions, took)));
    pause(TURN * 3).await;
    let keys = count(keys_left(server).await?);
    rows.push(Row::count(format!("{name}: keys that are left"), "keys", keys).at_most(0.0));
    let grown = ((memory(server).await? - before) / count(sessions)).max(0.0);
    rows.push(Row::count(format!("{name}: memory that is left of a session"), "bytes", grown).at_most(16.0));
    idle(server, rows).await?;
    drop(reaper);
    for stores in [listening, reaping] {
        stores.close(Duration::from_secs(10)).await?;
    }
    Ok(())
}

async fn service(server: &Server) -> Result<Stores, Failure> {
    Ok(server.stores(Duration::from_secs(30), Invalidation::Tracking).await?.service("auth")?)
}

fn publishing(stores: &Stores, life: Duration) -> stanchion::session::SessionsBuilder {
    let builder = stores.sessions().idle_timeout(life).absolute_timeout(life).reap_every(TURN);
    let builder = builder.limit(SessionLimit::EvictOldest(10));
    // Of openings nobody wants to hear here.
    match SessionEvents::standard() {
        Ok(events) => builder.events(events.without_created()),
        Err(_) => builder.publishing(),
    }
}

async fn open(sessions: &Sessions, user: &str) -> Result<(), Failure> {
    match sessions.create(user, Patch::new().set("theme", "dark")).await? {
        Some(_) => Ok(()),
        None => Err("a session was refused".into()),
    }
}

async fn open_all(sessions: &Sessions, how_many: usize) -> Result<(), Failure> {
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::<Result<(), Failure>>::new();
    for _ in 0..TASKS {
        let (sessions, next) = (sessions.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= how_many {
                    return Ok(());
                }
                open(&sessions, &format!("user-{}", number / 2)).await?;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

/// What the servers use, after what is being freed in the background is freed.
async fn memory(server: &Server) -> Result<f64, Failure> {
    let mut all = 0.0;
    for node in server.nodes() {
        node.command(&["MEMORY", "PURGE"]).await?;
        all += stat(&node.command(&["INFO", "memory"]).await?, "used_memory")?;
    }
    Ok(all)
}

fn stat(info: &Reply, name: &str) -> Result<f64, Failure> {
    let text = info.text();
    let mut values = text.lines().filter_map(|line| line.split_once(':'));
    let value = values.find(|(known, _)| *known == name).map(|(_, value)| value.trim());
    Ok(value.ok_or(format!("INFO has no {name}"))?.parse()?)
}

/// The keys of the sessions, but for the one that says who reaps.
async fn keys_left(server: &Server) -> Result<usize, Failure> {
    let mut left = 0;
    for node in server.nodes() {
        let keys = node.command(&["KEYS", "auth:session:{*"]).await?;
        left += keys.items().len();
    }
    Ok(left)
}

/// What turns cost in which nothing is due.
async fn idle(server: &Server, rows: &mut Vec<Row>) -> Result<(), Failure> {
    for node in server.nodes() {
        node.command(&["CONFIG", "RESETSTAT"]).await?;
    }
    // Turns are half as long to as long as what is set.
    pause(TURN * IDLE_TURNS).await;
    let (mut scripts, mut micros, mut leads) = (0.0, 0.0, 0.0);
    for node in server.nodes() {
        let info = node.command(&["INFO", "commandstats"]).await?.text();
        for line in info.lines() {
            let number = |field: &str| {
                let value = line.split([':', ',']).find_map(|part| part.strip_prefix(field));
                value.and_then(|value| value.parse::<f64>().ok()).unwrap_or_default()
            };
            if line.starts_with("cmdstat_evalsha:") {
                scripts += number("calls=");
                micros += number("usec=");
            } else if line.starts_with("cmdstat_set:") {
                leads += number("calls=");
            }
        }
    }
    let name = server.name();
    rows.push(Row::count(
        format!("{name}: a turn without anything due"),
        "commands",
        scripts / f64::max(leads, 1.0),
    ));
    rows.push(Row::count(
        format!("{name}: the same"),
        "ms of the servers",
        micros / f64::max(leads, 1.0) / 1e3,
    ));
    Ok(())
}
