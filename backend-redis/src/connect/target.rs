//! The servers to connect to.

use std::fmt;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{ConnectionAddr, ConnectionInfo, Pipeline, Value};
use stanchion::Result;

use super::connection::Connection;
use super::context::Context;
use super::purpose::Purpose;
use crate::error::Access;
use crate::reply;

/// A server to connect to, or one of several: its address is looked up anew for each attempt.
#[derive(Clone)]
pub(crate) struct Target {
    label: Arc<str>,
    server: Option<Arc<str>>,
    choice: Arc<dyn Choice>,
}

/// Chooses the server that a connection is made to, of those that will do.
pub(crate) trait Choice: Send + Sync {
    /// For this attempt.
    fn choose(&self, attempt: u32) -> BoxFuture<'_, Result<ConnectionInfo>>;

    /// Whether what was chosen last will still do, so that a connection to it stays; the connection that may stay is at this
    /// address.
    fn is_current(&self, _used: &ConnectionAddr) -> bool {
        true
    }

    /// Ends when that may have changed for a connection at this address.
    fn changed<'a>(&'a self, _used: Option<&'a ConnectionAddr>) -> BoxFuture<'a, ()> {
        std::future::pending().boxed()
    }
}

/// Always the same address.
struct One(ConnectionInfo);

impl Choice for One {
    fn choose(&self, _: u32) -> BoxFuture<'_, Result<ConnectionInfo>> {
        std::future::ready(Ok(self.0.clone())).boxed()
    }
}

impl Target {
    /// Always the same server.
    pub(crate) fn one(info: ConnectionInfo) -> Self {
        Self::chosen(&info.addr().to_string(), Arc::new(One(info)))
    }

    /// A server by another name than its address.
    #[cfg(test)]
    pub(crate) fn any(label: &str, address: impl Fn(u32) -> ConnectionInfo) -> Self {
        Self::chosen(label, Arc::new(One(address(0))))
    }

    /// One of several.
    pub(crate) fn chosen(label: &str, choice: Arc<dyn Choice>) -> Self {
        Self { label: label.into(), server: None, choice }
    }

    /// The server that is known to be at the address now, by an id that no other has.
    #[must_use]
    pub(crate) fn of_server(mut self, id: &Arc<str>) -> Self {
        self.server = Some(Arc::clone(id));
        self
    }

    /// Whether it leads to the same server as far as is known: another one may have its address by now.
    pub(crate) fn is_same_server(&self, other: &Self) -> bool {
        let differ = matches!((&self.server, &other.server), (Some(one), Some(other)) if one != other);
        self.label == other.label && !differ
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

    pub(super) async fn address(&self, attempt: u32) -> Result<ConnectionInfo> {
        self.choice.choose(attempt).await
    }

    /// Whether a connection to the address of the last attempt, which is this, is still wanted.
    pub(super) fn is_current(&self, used: &ConnectionAddr) -> bool {
        self.choice.is_current(used)
    }

    /// Ends when that may have changed.
    pub(super) async fn changed(&self, used: Option<&ConnectionAddr>) {
        self.choice.changed(used).await;
    }

    /// Sends commands that only read on a connection that is used for nothing else.
    pub(super) async fn pipeline_once(
        &self,
        pipeline: &Pipeline,
        context: &Arc<Context>,
    ) -> Vec<Result<Value>> {
        let sending = async {
            let (connection, _) =
                Connection::open(&self.address(0).await?, None, Purpose::Commands, context).await?;
            connection.pipeline(pipeline, Access::Read).await
        };
        match sending.await {
            Ok(values) => values.into_iter().map(|value| reply::checked(value, Access::Read)).collect(),
            Err(error) => vec![Err(error); pipeline.len()],
        }
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Target({})", self.label)
    }
}
