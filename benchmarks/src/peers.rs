//! The Redis clients that are measured against.

use std::borrow::Cow;
use std::sync::Arc;

use bytes::Bytes;
use fred::interfaces::{ClientLike, KeysInterface};
use redis::aio::MultiplexedConnection;
use rustis::commands::StringCommands;
use rustis::resp::BulkString;

use crate::Failure;
use crate::load::Client;

/// What is read, and what is done with it.
#[derive(Clone)]
pub(crate) enum Work {
    /// The bytes under these keys.
    Bytes(Arc<[String]>),
    /// The strings whose JSON is under `bare:{number}`; the key is made for each read, as a cache does.
    Json,
}

impl Work {
    fn key(&self, number: usize) -> Cow<'_, str> {
        match self {
            Self::Bytes(keys) => Cow::Borrowed(&keys[number]),
            Self::Json => Cow::Owned(format!("bare:{number}")),
        }
    }

    fn done(&self, bytes: &[u8]) -> Result<(), Failure> {
        if bytes.is_empty() {
            return Err("a value is missing".into());
        }
        match self {
            Self::Bytes(_) => drop(std::hint::black_box(bytes.len())),
            Self::Json => drop(std::hint::black_box(serde_json::from_slice::<String>(bytes)?)),
        }
        Ok(())
    }
}

/// The `redis` crate on one multiplexed connection, no-delay, without a response timeout.
#[derive(Clone)]
pub(crate) struct Bare {
    connection: MultiplexedConnection,
    work: Work,
}

/// Such a connection.
pub(crate) async fn bare_connection(url: &str) -> Result<MultiplexedConnection, Failure> {
    use redis::IntoConnectionInfo;
    let tcp = redis::io::tcp::TcpSettings::default().set_nodelay(true);
    let client = redis::Client::open(url.into_connection_info()?.set_tcp_settings(tcp))?;
    let config = redis::AsyncConnectionConfig::new().set_response_timeout(None);
    Ok(client.get_multiplexed_async_connection_with_config(&config).await?)
}

impl Bare {
    pub(crate) async fn connect(url: &str, work: Work) -> Result<Self, Failure> {
        Ok(Self { connection: bare_connection(url).await?, work })
    }
}

impl Client for Bare {
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        let key = self.work.key(key);
        let bytes: Vec<u8> = redis::cmd("GET").arg(&*key).query_async(&mut self.connection).await?;
        self.work.done(&bytes)
    }
}

#[derive(Clone)]
pub(crate) struct Fred {
    client: fred::clients::Client,
    work: Work,
}

impl Fred {
    pub(crate) async fn connect(url: &str, work: Work) -> Result<Self, Failure> {
        let client = fred::types::Builder::from_config(fred::types::config::Config::from_url(url)?)
            .with_connection_config(|config| config.tcp.nodelay = Some(true))
            .build()?;
        let _connection = client.init().await?;
        Ok(Self { client, work })
    }
}

impl Client for Fred {
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        let bytes: Bytes = self.client.get(&*self.work.key(key)).await?;
        self.work.done(&bytes)
    }
}

#[derive(Clone)]
pub(crate) struct Rustis {
    client: rustis::client::Client,
    work: Work,
}

impl Rustis {
    pub(crate) async fn connect(url: &str, work: Work) -> Result<Self, Failure> {
        Ok(Self { client: rustis::client::Client::connect(url).await?, work })
    }
}

impl Client for Rustis {
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        let bytes: BulkString = self.client.get(self.work.key(key)).await?;
        self.work.done(bytes.as_bytes())
    }
}

/// The connections of a pool.
const POOLED: u32 = 16;

#[derive(Clone)]
pub(crate) struct Deadpool {
    pool: deadpool_redis::Pool,
    work: Work,
}

impl Deadpool {
    pub(crate) fn connect(url: &str, work: Work) -> Result<Self, Failure> {
        let config = deadpool_redis::Config::from_url(url);
        let builder = config.builder()?.max_size(POOLED as usize);
        Ok(Self { pool: builder.runtime(deadpool_redis::Runtime::Tokio1).build()?, work })
    }
}

impl Client for Deadpool {
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        let key = self.work.key(key);
        let mut connection = self.pool.get().await?;
        let bytes: Vec<u8> = redis::cmd("GET").arg(&*key).query_async(&mut connection).await?;
        drop(connection);
        self.work.done(&bytes)
    }
}

#[derive(Clone)]
pub(crate) struct Bb8 {
    pool: bb8_redis::bb8::Pool<bb8_redis::RedisConnectionManager>,
    work: Work,
}

impl Bb8 {
    pub(crate) async fn connect(url: &str, work: Work) -> Result<Self, Failure> {
        let manager = bb8_redis::RedisConnectionManager::new(url)?;
        Ok(Self { pool: bb8_redis::bb8::Pool::builder().max_size(POOLED).build(manager).await?, work })
    }
}

impl Client for Bb8 {
    async fn once(&mut self, key: usize) -> Result<(), Failure> {
        let key = self.work.key(key);
        let mut connection = self.pool.get().await?;
        let bytes: Vec<u8> = redis::cmd("GET").arg(&*key).query_async(&mut *connection).await?;
        drop(connection);
        self.work.done(&bytes)
    }
}
