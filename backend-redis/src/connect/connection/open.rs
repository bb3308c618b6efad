//! How a connection is made: who the user is, and which server has been reached.

use std::sync::Arc;

use redis::{ConnectionAddr, ConnectionInfo, Value};
use stanchion::Result;
use tokio_util::task::AbortOnDropHandle;

use super::end::Ended;
use super::events::ConnectionEvents;
use super::handle::Connection;
use super::{handshake, stream};
use crate::connect::context::Context;
use crate::connect::purpose::Purpose;
use crate::connect::server_info::{Mode, Role, RoleCommand, ServerId, ServerInfo};
use crate::credentials::Credentials;
use crate::error::{self, Access};
use crate::reply;

impl Connection {
    /// Connects and authenticates, each within the deadline, to learn the credentials and to be let in by them; and answers what
    /// the server says of itself. A server of another kind of deployment than the settings are for is refused, as `Config`.
    pub(in crate::connect) async fn open(
        info: &ConnectionInfo,
        events: Option<Arc<dyn ConnectionEvents>>,
        purpose: Purpose,
        context: &Arc<Context>,
    ) -> Result<(Self, ServerInfo)> {
        let identity = context.authentication.identity().await?;
        let (info, listener, shared) = (info.clone(), events.clone(), Arc::clone(context));
        let opening = async move {
            let connection = Self::to(info.addr(), listener, purpose, &shared).await?;
            let credentials = identity.credentials.as_ref();
            let server = greet(&connection, credentials, purpose, info.addr(), &shared).await?;
            Ok((connection, server, identity))
        };
        let (connection, server, identity) = at_home(opening, context).await?;
        if let Some(events) = &events {
            context.authentication.entered(connection.authenticated(events), &identity)?;
        }
        Ok((connection, server))
    }
}

/// Makes a connection on the runtime in which the backend was connected, within the deadline: one that was made on that of a
/// caller would end with it. A caller that leaves takes the attempt along.
async fn at_home<T: Send + 'static>(
    opening: impl Future<Output = Result<T>> + Send + 'static,
    context: &Context,
) -> Result<T> {
    let opening = AbortOnDropHandle::new(context.environment.tasks.spawn(opening)?);
    match tokio::time::timeout(context.deadline, opening).await {
        Ok(Ok(Some(opened))) => opened,
        Ok(Ok(None)) => Err(Ended::Closed.error(Access::Read, false)),
        Ok(Err(ended)) if ended.is_panic() => Err(Ended::Panicked.error(Access::Read, true)),
        Ok(Err(_)) => Err(error::runtime_ended(Access::Read)),
        Err(_) => Err(error::timed_out(context.deadline, Access::Read)),
    }
}

impl Connection {
    /// Connects to a sentinel and authenticates there, within the deadline.
    pub(in crate::connect) async fn open_sentinel(
        address: &ConnectionAddr,
        credentials: Option<&Credentials>,
        events: Option<Arc<dyn ConnectionEvents>>,
        context: &Arc<Context>,
    ) -> Result<Self> {
        let (address, shared) = (address.clone(), Arc::clone(context));
        let hello = handshake::hello(credentials, context.names.of(Purpose::Sentinels));
        let opening = async move {
            let connection = Self::to(&address, events, Purpose::Sentinels, &shared).await?;
            let greeted = handshake::check(connection.raw_command(&hello, Access::Read).await?)?;
            handshake::check_sentinel(Mode::in_hello(&greeted), &address)?;
            Ok(connection)
        };
        at_home(opening, context).await
    }

    async fn to(
        address: &ConnectionAddr,
        events: Option<Arc<dyn ConnectionEvents>>,
        purpose: Purpose,
        context: &Arc<Context>,
    ) -> Result<Self> {
        let stream = stream::open(address, context)
            .await
            // What is wrong with our own certificates is an error of ours already.
            .map_err(|failure| {
                failure.downcast().unwrap_or_else(|failure| error::from_client(&failure.into(), Access::Read))
            })?;
        Ok(Self::on(stream, events, purpose, context))
    }
}

async fn greet(
    connection: &Connection,
    credentials: Option<&Credentials>,
    purpose: Purpose,
    address: &ConnectionAddr,
    context: &Context,
) -> Result<ServerInfo> {
    let hello = handshake::hello(credentials, context.names.of(purpose));
    let (library, info) = (handshake::library(), handshake::info());
    // In one write. A server that refuses the first may hang up before it has replied to the others.
    let (greeted, _, info) = tokio::join!(
        connection.raw_command(&hello, Access::Read),
        connection.pipeline(&library, Access::Read),
        async {
            // The connections to a Cluster are at different servers, as they should be.
            if context.cluster { None } else { Some(connection.command(&info, Access::Read).await) }
        }
    );
    let greeted = handshake::check(greeted?)?;
    handshake::check_mode(Mode::in_hello(&greeted), context.cluster, address)?;
    let Some(info) = info else { return Ok(ServerInfo::default()) };
    let id = server_id(info, context)?;
    let (role, role_by) = role(connection, &greeted).await?;
    if role.is_none() && context.logged.role_unknown() {
        tracing::warn!(server = %address, "the server does not say its role: that it is a replica is seen by its replies to writes only");
    }
    Ok(ServerInfo { id, role, role_by })
}

/// Whether it is a master, and which command says so.
async fn role(connection: &Connection, greeted: &Value) -> Result<(Option<Role>, Option<RoleCommand>)> {
    let by = |command: RoleCommand, reply| command.role_in(reply).map(|role| (Some(role), Some(command)));
    if let Some(role) = by(RoleCommand::Hello, greeted) {
        return Ok(role);
    }
    let reply = connection.raw_command(&RoleCommand::Role.command(), Access::Read).await?;
    Ok(by(RoleCommand::Role, &reply).unwrap_or_default())
}

/// Which server this is. A user without the right to ask is served all the same.
fn server_id(info: Result<Value>, context: &Context) -> Result<Option<ServerId>> {
    let id = match info {
        Ok(info) => reply::text(info).as_deref().and_then(ServerId::in_info),
        Err(error) if error.kind().is_transient() => return Err(error),
        Err(_) => None,
    };
    if id.is_none() && context.logged.server_unknown() {
        let help = "allow the command INFO, as acl/service.acl does";
        tracing::warn!(
            help,
            "the server does not say which one it is: when the connection for commands is made anew, the others are too"
        );
    }
    Ok(id)
}
