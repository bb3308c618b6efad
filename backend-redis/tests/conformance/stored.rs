//! Setting the wall clock of a server that nobody can set: all that is stored in a place is moved in time instead, by what
//! `core/docs/wire-format.md` says of it.
//!
//! Times and numbers made of the time become greater where the clock is to go back, and so do deadlines, which the server
//! keeps as times of its wall clock. The freshness in the header of a cached value stays: it is not the store's affair.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, RedisResult, Value, cmd};
use stanchion_conformance::WallStep;
use stanchion_conformance::servers::Topology;

/// For machines with much else to do.
const PATIENCE: Duration = Duration::from_secs(30);

/// What of a key is a time, besides its expiry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// Nothing.
    Timeless,
    /// A number in µs.
    Number,
    /// Fields of these names, in µs; zero is no time.
    Fields(&'static [&'static str]),
    /// Every score, in µs.
    Scores,
    /// Every score but that of `*`, in µs.
    Leases,
    /// Every field, `{micros}:{rest}`.
    Tiers,
    /// Every field, `{failures}:{since}:{locked until}:{lock-outs}:{forgotten at}:{known until}`, in µs; zero is no time.
    Failures,
}

impl Form {
    /// Of the key, without the deployment prefix.
    fn of(key: &str) -> Self {
        let mut parts = key.split(':');
        let mut part = || parts.next().unwrap_or_default();
        match (part(), part(), part(), part()) {
            ("rate_limit", _, _, "in_flight") => Self::Leases,
            ("rate_limit", _, _, _) => Self::Tiers,
            ("attempts", _, _, _) => Self::Failures,
            ("locks", _, "l", _) => Self::Fields(&["fence", "until"]),
            (_, "session", _, "s") => Self::Fields(&["created", "used", "deadline"]),
            (_, "session", _, "u") => Self::Scores,
            (_, "token", "jti", _) => Self::Timeless,
            ("tags", _, _, _) | (_, "token", _, _) => Self::Number,
            _ => Self::Timeless,
        }
    }
}

/// Moves what the place with this prefix has stored, on every master that one of these servers knows.
pub(super) async fn step(
    topology: Topology,
    urls: &[String],
    prefix: &str,
    step: WallStep,
) -> RedisResult<()> {
    let (by, sign) = match step {
        WallStep::Back(by) => (by, 1),
        WallStep::Forth(by) => (by, -1),
    };
    let micros = sign * i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
    let first = urls.first().map_or("", String::as_str);
    let masters = match topology {
        Topology::Standalone => vec![first.to_owned()],
        Topology::Cluster => masters(first).await?,
    };
    for master in masters {
        let mut server = connect(&master).await?;
        for key in keys(&mut server, prefix).await? {
            // A lease has the prefix within its braces.
            if let Some(rest) = key.strip_prefix(prefix).and_then(|rest| rest.strip_prefix(':')) {
                move_key(&mut server, &key, Form::of(rest), micros).await?;
            }
            move_expiry(&mut server, &key, micros / 1_000).await?;
        }
    }
    Ok(())
}

async fn connect(url: &str) -> RedisResult<MultiplexedConnection> {
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(PATIENCE));
    redis::Client::open(url)?.get_multiplexed_async_connection_with_config(&config).await
}

/// The URL of each master of the Cluster.
async fn masters(url: &str) -> RedisResult<Vec<String>> {
    let ranges: Vec<Vec<Value>> = cmd("CLUSTER").arg("SLOTS").query_async(&mut connect(url).await?).await?;
    let mut urls = Vec::new();
    for master in ranges.into_iter().filter_map(|range| range.into_iter().nth(2)) {
        let node: Vec<Value> = redis::from_redis_value(master)?;
        if let [host, port, ..] = node.as_slice() {
            let host: String = redis::from_redis_value(host.clone())?;
            let port: u16 = redis::from_redis_value(port.clone())?;
            urls.push(format!("redis://{host}:{port}"));
        }
    }
    urls.sort_unstable();
    urls.dedup();
    Ok(urls)
}

async fn keys(server: &mut MultiplexedConnection, prefix: &str) -> RedisResult<Vec<String>> {
    let (mut cursor, mut keys) = ("0".to_owned(), Vec::new());
    loop {
        let mut scan = cmd("SCAN");
        // The prefix has no character that means something in a pattern.
        scan.arg(&cursor).arg("MATCH").arg(format!("*{prefix}:*")).arg("COUNT").arg(1_000);
        let (next, found): (String, Vec<String>) = scan.query_async(server).await?;
        keys.extend(found);
        if next == "0" {
            keys.sort_unstable();
            keys.dedup();
            return Ok(keys);
        }
        cursor = next;
    }
}

fn moved(number: &str, micros: i64) -> String {
    match number.parse::<i64>() {
        Ok(time) if time > 0 => (time + micros).to_string(),
        _ => number.to_owned(),
    }
}

fn moved_failures(text: &str, micros: i64) -> String {
    let is_time = |at| matches!(at, 1 | 2 | 4 | 5);
    let part = |(at, part): (usize, &str)| if is_time(at) { moved(part, micros) } else { part.to_owned() };
    text.split(':').enumerate().map(part).collect::<Vec<_>>().join(":")
}

async fn move_key(server: &mut MultiplexedConnection, key: &str, form: Form, micros: i64) -> RedisResult<()> {
    match form {
        Form::Timeless => Ok(()),
        Form::Number => {
            let Some(text): Option<String> = cmd("GET").arg(key).query_async(server).await? else {
                return Ok(());
            };
            cmd("SET").arg(key).arg(moved(&text, micros)).arg("KEEPTTL").exec_async(server).await
        }
        Form::Fields(_) | Form::Tiers | Form::Failures => {
            let fields: Vec<(String, Vec<u8>)> = cmd("HGETALL").arg(key).query_async(server).await?;
            let is_time = |name: &str| match form {
                Form::Fields(times) => times.contains(&name),
                _ => true,
            };
            for (name, value) in fields.into_iter().filter(|(name, _)| is_time(name)) {
                let text = String::from_utf8_lossy(&value);
                let text = match text.split_once(':') {
                    Some(_) if form == Form::Failures => moved_failures(&text, micros),
                    Some((arrival, rest)) => format!("{}:{rest}", moved(arrival, micros)),
                    None => moved(&text, micros),
                };
                cmd("HSET").arg(key).arg(name).arg(text).exec_async(server).await?;
            }
            Ok(())
        }
        Form::Scores | Form::Leases => {
            let members: Vec<String> = cmd("ZRANGE").arg(key).arg("0").arg("-1").query_async(server).await?;
            for member in members.into_iter().filter(|member| form == Form::Scores || member != "*") {
                cmd("ZINCRBY").arg(key).arg(micros).arg(member).exec_async(server).await?;
            }
            Ok(())
        }
    }
}

/// A deadline that is past with this is over.
async fn move_expiry(server: &mut MultiplexedConnection, key: &str, millis: i64) -> RedisResult<()> {
    let left: i64 = cmd("PTTL").arg(key).query_async(server).await?;
    if left < 0 {
        return Ok(());
    }
    cmd("PEXPIRE").arg(key).arg((left + millis).max(0)).exec_async(server).await
}
