//! Where to connect.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{AsyncConnectionConfig, Client, Cmd, ConnectionInfo, Value};
use stanchion::Result;

use crate::error::{self, Access};

/// Where to connect: the addresses are asked anew for each attempt.
#[derive(Clone)]
pub(crate) struct Target {
    label: Arc<str>,
    client: Arc<dyn Fn(u32) -> redis::RedisResult<Client> + Send + Sync>,
}

impl Target {
    /// Always the same server.
    pub(crate) fn one(info: ConnectionInfo) -> Result<Self> {
        let label = info.addr().to_string().into();
        let client = Client::open(info).map_err(|error| error::from_client(&error, Access::Read))?;
        Ok(Self { label, client: Arc::new(move |_| Ok(client.clone())) })
    }

    /// One of several, another at each attempt.
    pub(crate) fn any(
        label: &str,
        client: impl Fn(u32) -> redis::RedisResult<Client> + Send + Sync + 'static,
    ) -> Self {
        Self { label: label.into(), client: Arc::new(client) }
    }

    /// What it is called in logs; of a single server its host and port.
    pub(crate) fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// The host of a single server.
    pub(super) fn host(&self) -> &str {
        self.label.rsplit_once(':').map_or(&*self.label, |(host, _)| host)
    }

    pub(super) fn client(&self, attempt: u32) -> redis::RedisResult<Client> {
        (self.client)(attempt)
    }

    /// Asks something on a connection that is used for nothing else.
    pub(super) async fn ask_once(&self, command: &Cmd, deadline: Duration) -> Result<Value> {
        let asking = async {
            let config = AsyncConnectionConfig::new()
                .set_connection_timeout(Some(deadline))
                .set_response_timeout(None);
            let mut connection =
                self.client(0)?.get_multiplexed_async_connection_with_config(&config).await?;
            connection.send_packed_command(command).await
        };
        let answer = asking.await.map_err(|failure| error::from_client(&failure, Access::Read))?;
        super::unwrap(answer, Access::Read)
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.label)
    }
}
