//! What all connections of a backend share.

use std::sync::Arc;
use std::time::Duration;

use stanchion::environment::Environment;

use super::authentication::Authentication;
use super::health::HealthTracker;
use super::logged_once::LoggedOnce;
use super::names::ConnectionNames;
use super::reached::Servers;
use super::renewals::RenewalThread;
use super::telemetry::{CommandTelemetry, Telemetry};
use super::time::ServerTime;
use crate::config::RedisConfig;
use crate::keys::Layout;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) deadline: Duration,
    pub(crate) ping_every: Duration,
    pub(crate) environment: Environment,
    pub(crate) health: Arc<HealthTracker>,
    pub(crate) time: Arc<ServerTime>,
    pub(crate) layout: Layout,
    pub(crate) cluster: bool,
    pub(crate) authentication: Arc<Authentication>,
    pub(super) names: Arc<ConnectionNames>,
    pub(super) servers: Arc<Servers>,
    pub(super) logged: Arc<LoggedOnce>,
    // Where the connections are driven by which locks are renewed; that context has none of its own.
    pub(super) renewals: RenewalThread<Context>,
    pub(super) telemetry: Arc<Telemetry>,
    // Of each command, if that is asked for.
    pub(super) commands: Option<Arc<CommandTelemetry>>,
    #[cfg(feature = "tls")]
    pub(super) tls: Arc<crate::tls::TlsClient>,
}

impl Context {
    pub(crate) fn new(config: &RedisConfig, environment: Environment) -> Arc<Self> {
        let time = ServerTime::new(Arc::clone(&environment.clock));
        let (deadline, ping_every) = (config.deadline, config.ping_every);
        let telemetry = Arc::new(Telemetry::new());
        Arc::new(Self {
            commands: CommandTelemetry::new(config, &environment).map(Arc::new),
            authentication: Arc::new(Authentication::new(
                config.credentials.clone(),
                deadline,
                environment.clone(),
            )),
            names: Arc::new(ConnectionNames::new(config.client_name.as_ref())),
            deadline,
            ping_every,
            environment,
            health: Arc::new(HealthTracker::new(Arc::clone(&telemetry))),
            telemetry,
            time: Arc::new(time),
            layout: Layout::new(config.prefix.as_ref(), config.buckets).with_copies(config.cluster),
            cluster: config.cluster,
            servers: Arc::default(),
            logged: Arc::default(),
            renewals: RenewalThread::default(),
            #[cfg(feature = "tls")]
            tls: Arc::new(crate::tls::TlsClient::new(config.certificates.clone())),
        })
    }

    /// How long one attempt to connect may take: one deadline for the address, one for the credentials, one for being let in by
    /// them, and one for what is to be prepared then.
    pub(super) fn connecting(&self) -> Duration {
        self.deadline.saturating_mul(4)
    }

    /// The same, with connections that are driven where this is called.
    pub(super) fn on_this_runtime(&self) -> Arc<Self> {
        Arc::new(Self {
            environment: self.environment.clone().with_own_tasks(),
            renewals: RenewalThread::default(),
            deadline: self.deadline,
            ping_every: self.ping_every,
            health: Arc::clone(&self.health),
            time: Arc::clone(&self.time),
            layout: self.layout.clone(),
            cluster: self.cluster,
            authentication: Arc::clone(&self.authentication),
            names: Arc::clone(&self.names),
            servers: Arc::clone(&self.servers),
            logged: Arc::clone(&self.logged),
            telemetry: Arc::clone(&self.telemetry),
            commands: self.commands.clone(),
            #[cfg(feature = "tls")]
            tls: Arc::clone(&self.tls),
        })
    }
}
