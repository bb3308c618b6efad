//! What all connections of a backend share.

use std::sync::Arc;
use std::time::Duration;

use stanchion::environment::Environment;

use super::authentication::Authentication;
use super::health::HealthTracker;
use super::logged_once::LoggedOnce;
use super::names::ConnectionNames;
use super::reached::Servers;
use super::telemetry::{CommandTelemetry, Telemetry};
use super::time::ServerTime;
use crate::config::RedisConfig;
use crate::keys::Layout;

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) deadline: Duration,
    pub(crate) ping_every: Duration,
    pub(crate) environment: Environment,
    pub(crate) health: HealthTracker,
    pub(crate) time: ServerTime,
    pub(crate) layout: Layout,
    pub(crate) cluster: bool,
    pub(crate) authentication: Authentication,
    pub(super) names: ConnectionNames,
    pub(super) servers: Servers,
    pub(super) logged: LoggedOnce,
    pub(super) telemetry: Arc<Telemetry>,
    // Of each command, if that is asked for.
    pub(super) commands: Option<CommandTelemetry>,
    #[cfg(feature = "tls")]
    pub(super) tls: Arc<crate::tls::TlsClient>,
}

impl Context {
    pub(crate) fn new(config: &RedisConfig, environment: Environment) -> Arc<Self> {
        let time = ServerTime::new(Arc::clone(&environment.clock));
        let (deadline, ping_every) = (config.deadline, config.ping_every);
        let telemetry = Arc::new(Telemetry::new());
        Arc::new(Self {
            commands: CommandTelemetry::new(config, &environment),
            authentication: Authentication::new(config.credentials.clone(), deadline, environment.clone()),
            names: ConnectionNames::new(config.client_name.as_ref()),
            deadline,
            ping_every,
            environment,
            health: HealthTracker::new(Arc::clone(&telemetry)),
            telemetry,
            time,
            layout: Layout::new(config.prefix.as_ref(), config.buckets).with_copies(config.cluster),
            cluster: config.cluster,
            servers: Servers::default(),
            logged: LoggedOnce::default(),
            #[cfg(feature = "tls")]
            tls: Arc::new(crate::tls::TlsClient::new(config.certificates.clone())),
        })
    }
}
