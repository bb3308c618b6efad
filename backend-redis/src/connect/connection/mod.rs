//! One connection to a server, which any number of calls share.

mod replies;
mod stream;
mod turns;

use std::io;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, ConnectionInfo, RedisResult};
use tokio_util::task::AbortOnDropHandle;

use self::turns::Turns;
use super::Context;
use super::health::Carries;

/// A connection. Clones share it, and it ends with the last of them.
#[derive(Clone)]
pub(crate) struct Connection {
    client: MultiplexedConnection,
    _driver: Arc<AbortOnDropHandle<()>>,
}

impl Connection {
    /// Connects and says who we are, within the deadline.
    pub(super) async fn open(
        info: &ConnectionInfo,
        config: AsyncConnectionConfig,
        carries: Carries,
        context: &Context,
    ) -> RedisResult<Self> {
        let opening = async {
            let (stream, turn) = Turns::of(stream::open(info.addr(), context).await?);
            // The deadline of a call is ours, around all that it takes.
            let config = config.set_response_timeout(None);
            let (client, driver) =
                MultiplexedConnection::new_with_config(info.redis_settings(), stream, config).await?;
            let driver = match carries {
                Carries::Commands => tokio::spawn(turn.taken_by(driver, context.environment.clock.clone())),
                // No request follows what is pushed.
                Carries::Subscriptions => tokio::spawn(driver),
            };
            Ok(Self { client, _driver: Arc::new(AbortOnDropHandle::new(driver)) })
        };
        let opened = tokio::time::timeout(context.deadline, opening).await;
        opened.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
    }
}

impl Deref for Connection {
    type Target = MultiplexedConnection;

    fn deref(&self) -> &MultiplexedConnection {
        &self.client
    }
}

impl DerefMut for Connection {
    fn deref_mut(&mut self) -> &mut MultiplexedConnection {
        &mut self.client
    }
}
