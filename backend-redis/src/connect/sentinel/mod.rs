//! Sentinels: processes that watch over a master and its replicas, and know which of them is the master now.
//!
//! They are asked at each connect, and one of them is [listened to](listening) for changes. Whether the server at the address
//! that they give is a master is asked of itself, as everywhere.

mod asking;
mod decision;
mod failure;
mod listening;

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use redis::{ConnectionAddr, ConnectionInfo};
use stanchion::{Error, ErrorKind, Result};
use tokio::sync::watch;

use self::decision::{Address, Answer, Master, decide};
use super::context::Context;
use super::target::{Choice, Target};
use crate::config::RedisConfig;
use crate::credentials::Credentials;

/// The sentinels of one master, and which that is.
pub(super) struct Sentinels {
    /// What they call the master.
    name: Arc<str>,
    credentials: Option<Credentials>,
    has_tls: bool,
    /// Those of the settings; the master is reached as they say.
    seeds: Vec<ConnectionInfo>,
    /// Those that others have named.
    found: Mutex<Vec<Address>>,
    master: watch::Sender<Option<Master>>,
    context: Arc<Context>,
}

impl Sentinels {
    /// `None` where the settings name none.
    pub(super) fn of(config: &RedisConfig, context: &Arc<Context>) -> Option<Arc<Self>> {
        let name = Arc::clone(config.sentinel.master.as_ref()?);
        let seeds = config.addresses.clone();
        let as_master = seeds.iter().all(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. }));
        Some(Arc::new(Self {
            name,
            credentials: config.sentinel.credentials.clone(),
            has_tls: config.sentinel.tls.unwrap_or(as_master),
            seeds,
            found: Mutex::default(),
            master: watch::Sender::new(None),
            context: Arc::clone(context),
        }))
    }

    /// Leads to the master of now.
    pub(super) fn target(self: &Arc<Self>) -> Target {
        Target::chosen(&self.name, Arc::clone(self) as Arc<dyn Choice>)
    }

    /// Sentinels to ask, each once as far as its address says: those of the settings, and those that others have named.
    fn addresses(&self) -> Vec<Address> {
        let mut addresses: Vec<_> = self.seeds.iter().filter_map(|info| address_of(info.addr())).collect();
        for found in &*self.found.lock().unwrap_or_else(PoisonError::into_inner) {
            if !addresses.contains(found) {
                addresses.push(found.clone());
            }
        }
        addresses
    }

    /// Whoever is named no more was replaced.
    fn found(&self, found: Vec<Address>) {
        *self.found.lock().unwrap_or_else(PoisonError::into_inner) = found;
    }

    /// The address of the master, as it is known here.
    fn current(&self) -> Option<Address> {
        self.master.borrow().as_ref().map(|master| master.address.clone())
    }

    /// Asks the sentinels which server is the master. Where that is another one than before, connections to the old one are not
    /// current any more.
    async fn find(&self) -> Result<Address> {
        let answers = self.ask_all().await?;
        let mut outcome = Err(decision::Stale);
        let mut before = None;
        self.master.send_if_modified(|master| {
            outcome = decide(&answers, master.as_ref(), self.context.environment.clock.now());
            let Ok(new) = &outcome else { return false };
            before = master.replace(new.clone()).map(|master| master.address);
            before.as_ref() != Some(&new.address)
        });
        let Ok(Master { address, .. }) = outcome else { return Err(self.stale(&answers)) };
        if before.is_some_and(|before| before != address) {
            let (host, port) = &address;
            tracing::info!(master = &*self.name, server = %format_args!("{host}:{port}"), "the sentinels name another master");
        }
        Ok(address)
    }

    fn stale(&self, answers: &[Answer]) -> Error {
        let named: Vec<_> =
            answers.iter().map(|Answer { address: (host, port), .. }| format!("{host}:{port}")).collect();
        let why = format!(
            "the sentinels that can be reached name what was the master of the name `{}` before: {}",
            self.name,
            named.join(", ")
        );
        Error::new(ErrorKind::Unavailable, why)
    }
}

/// Host and port; a sentinel has no other address.
fn address_of(address: &ConnectionAddr) -> Option<Address> {
    match address {
        ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
            Some((host.clone(), *port))
        }
        _ => None,
    }
}

/// The address, by TLS or without.
fn reached((host, port): Address, has_tls: bool) -> ConnectionAddr {
    if has_tls {
        ConnectionAddr::TcpTls { host, port, insecure: false, tls_params: None }
    } else {
        ConnectionAddr::Tcp(host, port)
    }
}

impl Choice for Sentinels {
    fn choose(&self, _: u32) -> BoxFuture<'_, Result<ConnectionInfo>> {
        async {
            let master = self.find().await?;
            let like = &self.seeds[0];
            let has_tls = matches!(like.addr(), ConnectionAddr::TcpTls { .. });
            Ok(like.clone().set_addr(reached(master, has_tls)))
        }
        .boxed()
    }

    fn is_current(&self, used: &ConnectionAddr) -> bool {
        is_at(self.master.borrow().as_ref(), used)
    }

    /// Each of the connections waits by itself, and for its own address: none is missed between two looks.
    fn changed<'a>(&'a self, used: Option<&'a ConnectionAddr>) -> BoxFuture<'a, ()> {
        let mut master = self.master.subscribe();
        async move {
            let Some(used) = used else { return std::future::pending().await };
            // It ends with this, which lives.
            let _ = master.wait_for(|master| !is_at(master.as_ref(), used)).await;
        }
        .boxed()
    }
}

fn is_at(master: Option<&Master>, used: &ConnectionAddr) -> bool {
    master.is_none_or(|master| address_of(used).as_ref() == Some(&master.address))
}
