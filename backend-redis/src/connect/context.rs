//! What all connections of a backend share.

use std::sync::Arc;
use std::time::Duration;

use stanchion::environment::Environment;

use super::health::HealthTracker;
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
    #[cfg(feature = "tls")]
    pub(super) tls: crate::tls::TlsClient,
}

impl Context {
    pub(crate) fn new(config: &RedisConfig, environment: Environment) -> Arc<Self> {
        let time = ServerTime::new(Arc::clone(&environment.clock));
        let (deadline, ping_every) = (config.deadline, config.ping_every);
        Arc::new(Self {
            deadline,
            ping_every,
            environment,
            health: HealthTracker::new(),
            time,
            layout: Layout::new(config.prefix.as_ref(), config.buckets),
            cluster: config.cluster,
            #[cfg(feature = "tls")]
            tls: crate::tls::TlsClient::new(config.certificates.clone()),
        })
    }
}
