//! Requests in a second that load a session and keep it alive, beside tower-sessions on Redis.

use std::sync::Arc;

use stanchion::session::{Patch, SessionToken, Sessions};
use stanchion_conformance::servers::RedisProcess;
use stanchion_redis::RedisBackend;
use tower_sessions_core::Session;
use tower_sessions_core::session::{Expiry, Id};
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred;
use tower_sessions_redis_store::fred::interfaces::ClientLike;

use crate::Failure;
use crate::load::{Client, Variant, compare};
use crate::report::Row;
use crate::rounds::ROUNDS;

const SESSIONS: usize = 1_000;
const TASKS: usize = 64;
const FIELD: &str = "cart";
const PEER: &str = "tower-sessions";

pub(super) async fn rows() -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for (name, bytes, operations) in [("300 B", 300, 64_000), ("20 KB", 20_000, 16_000)] {
        let server = RedisProcess::start().await?;
        let ours = Ours::open(&server, bytes).await?;
        let variants = [
            Variant::new("authenticate", SESSIONS, ours.clone()),
            Variant::new("load and touch", SESSIONS, Twice(ours)),
            Variant::new(PEER, SESSIONS, Theirs::open(&server, bytes).await?),
        ];
        let measured = compare(&variants, ROUNDS, TASKS, operations).await?;
        let row = |case: &str, ours| {
            let case = format!("{name}, {TASKS} tasks: {case}");
            Row::pairs(case, PEER, "requests/s", &measured.pairs(ours, 2))
        };
        rows.push(row("authenticate", 0).at_least(2.0));
        rows.push(row("load, then touch", 1));
    }
    Ok(rows)
}

fn text(bytes: usize) -> String {
    "0123456789".repeat(bytes / 10)
}

/// The same value on both sides, as text.
fn is_whole(text: &str, bytes: usize) -> Result<(), Failure> {
    if text.len() == bytes { Ok(()) } else { Err("another value than was stored".into()) }
}

#[derive(Clone)]
struct Ours {
    sessions: Sessions,
    cookies: Arc<[String]>,
    bytes: usize,
}

impl Ours {
    async fn open(server: &RedisProcess, bytes: usize) -> Result<Self, Failure> {
        let stores = RedisBackend::connect(server.url().as_str()).await?.stores();
        let sessions = stores.sessions().build()?;
        let mut cookies = Vec::new();
        for n in 0..SESSIONS {
            let opened = sessions.create(&format!("u{n}"), Patch::new().set(FIELD, text(bytes))).await?;
            cookies.push(opened.ok_or("there is room")?.token.reveal());
        }
        Ok(Self { sessions, cookies: cookies.into(), bytes })
    }

    fn check(&self, session: &stanchion::session::SessionView) -> Result<(), Failure> {
        let data = session.record().data.get(FIELD).ok_or("no cart")?;
        is_whole(std::str::from_utf8(data)?, self.bytes)
    }
}

impl Client for Ours {
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        let session = self.sessions.authenticate(&self.cookies[key]).await?.ok_or("no session")?;
        self.check(&session)
    }
}

/// What [`Ours`] does in one command, in two.
#[derive(Clone)]
struct Twice(Ours);

impl Client for Twice {
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        let token = SessionToken::parse(&self.0.cookies[key]).ok_or("a token")?;
        let session = self.0.sessions.load(&token).await?.ok_or("no session")?;
        self.0.check(&session)?;
        let _touched = self.0.sessions.touch(&token).await?;
        Ok(())
    }
}

#[derive(Clone)]
struct Theirs {
    store: Arc<RedisStore<fred::clients::Client>>,
    ids: Arc<[Id]>,
    bytes: usize,
}

fn idle() -> Expiry {
    Expiry::OnInactivity(time::Duration::minutes(30))
}

impl Theirs {
    async fn open(server: &RedisProcess, bytes: usize) -> Result<Self, Failure> {
        let client = fred::types::Builder::from_config(fred::types::config::Config::from_url(&server.url())?)
            .with_connection_config(|config| config.tcp.nodelay = Some(true))
            .build()?;
        let _connection = client.init().await?;
        let store = Arc::new(RedisStore::new(client));
        let mut ids = Vec::new();
        for _ in 0..SESSIONS {
            let session = Session::new(None, Arc::clone(&store), Some(idle()));
            session.insert(FIELD, text(bytes)).await?;
            session.save().await?;
            ids.push(session.id().ok_or("an id")?);
        }
        Ok(Self { store, ids: ids.into(), bytes })
    }
}

impl Client for Theirs {
    /// As its middleware does it that saves always, without which no request prolongs a session.
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        let session = Session::new(Some(self.ids[key]), Arc::clone(&self.store), Some(idle()));
        let cart: String = session.get(FIELD).await?.ok_or("no cart")?;
        is_whole(&cart, self.bytes)?;
        Ok(session.save().await?)
    }
}
