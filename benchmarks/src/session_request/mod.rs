//! What a request costs that finds its session and uses it.

mod throughput;

use std::time::Duration;

use stanchion::session::{Patch, Sessions};
use stanchion_conformance::servers::Proxy;
use stanchion_redis::RedisBackend;

use crate::report::{Report, Row};
use crate::server::Server;
use crate::timing::count;
use crate::{Failure, machine};

const METHOD: &str = "500 requests (`authenticate`) of 20 sessions with an idle timeout of 30 minutes, of which nothing is due to be recorded, after \
each session was used once; through a proxy in front of each master that counts what clients send, on all their connections together. \
Writes are the calls of commands that change something, as the servers count them (`INFO commandstats` after `CONFIG RESETSTAT`), \
also within scripts. Beside it the same number of requests that load the session and touch it each time, in two calls. \
Then requests in a second of 64 tasks on 1,000 sessions of one server, with a field of 300 B and of 20 KB that is read as text, beside \
tower-sessions with its Redis store on one connection of fred, which loads each session and saves it, as its middleware does where \
requests are to prolong a session: median of 8 paired rounds in balanced order after one to warm up. Its client gets what is stored by \
`GET`, and writes all of it anew by `SET`; ours reads the fields, and records a use once a minute.";

const SESSIONS: usize = 20;
const REQUESTS: usize = 500;
const PATIENCE: Duration = Duration::from_secs(20);

/// Commands that change nothing. Everything else is taken for a write.
const READS: [&str; 15] = [
    "config", "info", "evalsha", "eval", "script", "hgetall", "hmget", "hget", "time", "ping", "client",
    "hello", "auth", "cluster", "command",
];

pub(crate) async fn run() -> Result<Report, Failure> {
    let mut rows = Vec::new();
    let mut version = String::new();
    for (server, proxies) in
        [Server::standalone_behind_proxy().await?, Server::cluster_behind_proxies().await?]
    {
        version = server.version().await?;
        let meter = Meter::on(server, proxies).await?;
        let name = meter.server.name();
        let one = meter.count(async |cookie| meter.request(cookie).await).await?;
        let two = meter.count(async |cookie| meter.load_and_touch(cookie).await).await?;
        rows.push(
            Row::count(format!("{name}: commands per request"), "commands", one.sent)
                .at_most(1.0)
                .beside("load and touch", two.sent),
        );
        rows.push(
            Row::count(format!("{name}: writes per request"), "writes", one.writes)
                .at_most(0.0)
                .beside("load and touch", two.writes),
        );
    }
    rows.extend(throughput::rows().await?);
    let crates = machine::versions(&["redis", "tokio", "fred", "tower-sessions-redis-store", "stanchion"]);
    Ok(Report::new("session-request", format!("Redis {version}, {crates}"), METHOD, rows))
}

/// A deployment with sessions that live.
struct Meter {
    server: Server,
    proxies: Vec<Proxy>,
    sessions: Sessions,
    cookies: Vec<String>,
}

/// Per request.
struct Counted {
    sent: f64,
    writes: f64,
}

impl Meter {
    async fn on(server: Server, proxies: Vec<Proxy>) -> Result<Self, Failure> {
        // Nothing of its own accord meanwhile.
        let config = server.config(&proxies)?.ping_every(Duration::from_hours(1));
        let config = config.deadline(PATIENCE).cache_deadline(PATIENCE);
        let sessions = RedisBackend::connect(config).await?.stores().sessions().build()?;
        let mut cookies = Vec::new();
        for n in 0..SESSIONS {
            let opened = sessions.create(&format!("u{n}"), Patch::new().set("cart", vec![b'0'; 300])).await?;
            cookies.push(opened.ok_or("there is room")?.token.reveal());
        }
        Ok(Self { server, proxies, sessions, cookies })
    }

    async fn request(&self, cookie: &str) -> Result<(), Failure> {
        self.sessions.authenticate(cookie).await?.map(drop).ok_or_else(|| "no session".into())
    }

    async fn load_and_touch(&self, cookie: &str) -> Result<(), Failure> {
        let token = stanchion::session::SessionToken::parse(cookie).ok_or("a token")?;
        self.sessions.load(&token).await?.ok_or("no session")?;
        let _touched = self.sessions.touch(&token).await?;
        Ok(())
    }

    async fn count(&self, request: impl AsyncFn(&str) -> Result<(), Failure>) -> Result<Counted, Failure> {
        // So that all masters know the scripts.
        for cookie in &self.cookies {
            request(cookie).await?;
        }
        for node in self.server.nodes() {
            node.command(&["CONFIG", "RESETSTAT"]).await?;
        }
        self.proxies.iter().for_each(Proxy::forget_requests);
        for cookie in self.cookies.iter().cycle().take(REQUESTS) {
            request(cookie).await?;
        }
        let sent: usize = self.proxies.iter().map(|proxy| proxy.requests("")).sum();
        let mut writes = 0;
        for node in self.server.nodes() {
            writes += writes_in(&node.command(&["INFO", "commandstats"]).await?.text());
        }
        let each = |number: usize| count(number) / count(REQUESTS);
        Ok(Counted { sent: each(sent), writes: each(writes) })
    }
}

/// The calls that a server counts of commands that may change something.
fn writes_in(stats: &str) -> usize {
    let calls = stats.lines().filter_map(|line| {
        let (command, figures) = line.strip_prefix("cmdstat_")?.split_once(":calls=")?;
        let name = command.split('|').next().unwrap_or(command);
        figures.split(',').next().filter(|_| !READS.contains(&name))?.parse::<usize>().ok()
    });
    calls.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_something_is_a_write() {
        let stats = "# Commandstats\r\ncmdstat_hset:calls=3,usec=1\r\ncmdstat_evalsha:calls=9,usec=1\r\n\
                     cmdstat_pexpire:calls=2,usec=1\r\ncmdstat_config|resetstat:calls=1,usec=9\r\n\
                     cmdstat_hgetall:calls=9,usec=1\r\ncmdstat_time:calls=9,usec=9\r\n";
        assert_eq!(writes_in(stats), 5);
    }
}
