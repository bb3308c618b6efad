//! What attempts are counted by, and one that was.

use std::sync::Arc;

use crate::environment::Environment;
use crate::event::Topic;
use crate::event::standard::LockedOut;
use crate::key::{Key, Namespace};
use crate::limit::{AddressPrefix, AttemptTicket, Lockout, RateLimiter};
use crate::time::Ttl;

#[derive(Debug)]
pub(super) struct Settings {
    pub(super) store: Arc<dyn RateLimiter>,
    pub(super) environment: Environment,
    pub(super) namespace: Namespace,
    pub(super) here: Lockout,
    pub(super) account: Lockout,
    pub(super) network: Lockout,
    pub(super) known_for: Ttl,
    pub(super) addresses: AddressPrefix,
    pub(super) locked_out: Option<Topic<LockedOut>>,
}

/// What an attempt was counted in.
#[derive(Debug)]
pub(super) struct Counted {
    pub(super) settings: Arc<Settings>,
    pub(super) account: String,
    pub(super) network: String,
    pub(super) account_key: Key,
    pub(super) network_key: Key,
    pub(super) at_account: AttemptTicket,
    pub(super) at_network: AttemptTicket,
}
