//! The servers to connect to.

use std::fmt;
use std::sync::Arc;

use redis::{Cmd, ConnectionInfo, Value};
use stanchion::Result;

use super::connection::Connection;
use super::context::Context;
use super::purpose::Purpose;
use crate::error::Access;

/// A server to connect to, or one of several: its address is looked up anew for each attempt.
#[derive(Clone)]
pub(crate) struct Target {
    label: Arc<str>,
    address: Arc<dyn Fn(u32) -> ConnectionInfo + Send + Sync>,
}

impl Target {
    /// Always the same server.
    pub(crate) fn one(info: ConnectionInfo) -> Self {
        Self { label: info.addr().to_string().into(), address: Arc::new(move |_| info.clone()) }
    }

    /// One of several, another at each attempt.
    pub(crate) fn any(label: &str, address: impl Fn(u32) -> ConnectionInfo + Send + Sync + 'static) -> Self {
        Self { label: label.into(), address: Arc::new(address) }
    }

    /// Its name in logs; of a single server host and port.
    pub(crate) fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// The host of a single server.
    pub(super) fn host(&self) -> &str {
        self.label.rsplit_once(':').map_or(&*self.label, |(host, _)| host)
    }

    /// Host and port of a single server; a socket's path, or the name of several, has no port.
    pub(super) fn host_and_port(&self) -> (&str, Option<u16>) {
        match self.label.rsplit_once(':').map(|(host, port)| (host, port.parse())) {
            Some((host, Ok(port))) => (host, Some(port)),
            _ => (&self.label, None),
        }
    }

    pub(super) fn address(&self, attempt: u32) -> ConnectionInfo {
        (self.address)(attempt)
    }

    /// Sends one command on a connection that is used for nothing else.
    pub(super) async fn command_once(&self, command: &Cmd, context: &Arc<Context>) -> Result<Value> {
        let connection = Connection::open(&self.address(0), None, Purpose::Commands, context).await?;
        connection.command(command, Access::Read).await
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.label)
    }
}
