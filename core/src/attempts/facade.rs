//! Failed attempts of one kind.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::Attempt;
use super::counted::{Counted, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::limit::{AttemptOutcome, AttemptRequest, AttemptTicket, LockedBy, Settlement};

/// Failed attempts of one kind, under `attempts:{kind}:{account}:account` and `attempts:{kind}:{network}:network`.
///
/// An attempt writes these two keys and no other, and only the first where the network is locked out but known to the account; both expire. An account that
/// does not exist is counted like any other, so that the answers do not say which exist.
///
/// # Errors
/// Every method that is `async` answers `InvalidInput` for an account that is empty or longer than 512 bytes after escaping, `Closed`
/// once the stores are, and the store's error where it does not answer. Refuse the log-in then: that fails closed.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
/// # fn password_is_right() -> bool { true }
/// use stanchion::attempts::Begun;
/// use stanchion_memory::MemoryBackend;
///
/// let attempts = MemoryBackend::new().stores().attempts("login").build()?;
/// match attempts.begin("ada", "203.0.113.7".parse().unwrap()).await? {
///     Begun::Admitted(attempt) if password_is_right() => attempt.succeeded().await?,
///     Begun::Admitted(attempt) => drop(attempt.failed().await?),
///     Begun::Locked { retry_after, .. } => println!("429, try again in {retry_after:?}"),
/// }
/// # Ok(()) }
/// ```
#[derive(Debug, Clone)]
pub struct Attempts {
    settings: Arc<Settings>,
}

/// Whose failures lock out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LockedOutBy {
    /// Those of this account from this network.
    AccountFromNetwork,
    /// Those of this account from all networks.
    Account,
    /// Those of this network at all accounts.
    Network,
}

/// What came of announcing an attempt.
#[derive(Debug)]
#[must_use = "an attempt that is locked out must not be made"]
pub enum Begun {
    /// It may be made: say what becomes of it.
    Admitted(Attempt),
    /// It must not be made, and was not counted.
    Locked {
        /// When to try again. Never too long: attempts that are still being made may succeed and end the lock-out.
        retry_after: Duration,
        /// Whose failures it is. Not for the client, whom it would tell what others do.
        by: LockedOutBy,
    },
}

impl Attempts {
    pub(super) fn new(settings: Settings) -> Self {
        Self { settings: Arc::new(settings) }
    }

    /// Announces an attempt at an account from an address, before anything is looked at. It counts as failed until it is said to have
    /// [succeeded](Attempt::succeeded).
    ///
    /// # Errors
    /// Those of [every method](Attempts#errors). After `Unknown` it may have been counted.
    ///
    /// # Cancel safety
    /// If the future is dropped, the attempt does not count, or what was counted is taken back in the background.
    pub async fn begin(&self, account: &str, from: IpAddr) -> Result<Begun> {
        let settings = Arc::clone(&self.settings);
        let network = settings.addresses.subject(from);
        let counted = Counted {
            account_key: self.account_key(account)?,
            network_key: self.network_key(&network)?,
            account: account.to_owned(),
            network,
            at_account: AttemptTicket::default(),
            at_network: AttemptTicket::default(),
            settings,
        };
        let (word, answer) = oneshot::channel();
        self.settings.environment.tasks.spawn(async move {
            drop(word.send(Undelivered(Some(announce(counted).await))));
        })?;
        answer.await.ok().and_then(Undelivered::delivered).unwrap_or_else(|| {
            Err(Error::new(ErrorKind::Closed, "the stores were closed").with_operation("limit.attempt"))
        })
    }

    /// Lifts all lock-outs of an account, and forgets its failures; networks stay known. For administrators, and for those who have
    /// set a new password.
    ///
    /// # Errors
    /// Those of [every method](Attempts#errors).
    ///
    /// # Cancel safety
    /// Dropping the future leaves it either done or not.
    pub async fn unlock(&self, account: &str) -> Result<()> {
        self.settings.store.settle(&self.account_key(account)?, &Settlement::Unlocked).await
    }

    /// Lifts the lock-out of a network over all accounts, and forgets its failures there.
    ///
    /// # Errors
    /// Those of [every method](Attempts#errors).
    ///
    /// # Cancel safety
    /// Dropping the future leaves it either done or not.
    pub async fn unlock_network(&self, address: IpAddr) -> Result<()> {
        let network = self.settings.addresses.subject(address);
        self.settings.store.settle(&self.network_key(&network)?, &Settlement::Unlocked).await
    }

    fn account_key(&self, account: &str) -> Result<Key> {
        self.settings.namespace.key(account)?.subkey("account")
    }

    fn network_key(&self, network: &str) -> Result<Key> {
        self.settings.namespace.key(network)?.subkey("network")
    }
}

/// On its way to the caller. If nobody takes it, nobody has looked at anything, and the attempt counts nowhere.
struct Undelivered(Option<Result<Begun>>);

impl Undelivered {
    fn delivered(mut self) -> Option<Result<Begun>> {
        self.0.take()
    }
}

impl Drop for Undelivered {
    fn drop(&mut self) {
        if let Some(Ok(Begun::Admitted(attempt))) = self.0.take() {
            attempt.withdraw();
        }
    }
}

/// First at the network: a network that is locked out makes no keys of accounts.
async fn announce(mut counted: Counted) -> Result<Begun> {
    let Settings { store, account, network, here, .. } = &*counted.settings;
    let mut network_locked = None;
    match store.attempt(&counted.network_key, &AttemptRequest::new(*network)).await? {
        AttemptOutcome::Admitted(ticket) => counted.at_network = ticket,
        AttemptOutcome::Locked { retry_after, .. } => network_locked = Some(retry_after),
        AttemptOutcome::Unknown => return Err(unexpected()),
    }
    let request = AttemptRequest::new(*account)
        .from_source(counted.network.clone(), *here)
        .only_known(network_locked.is_some());
    let locked = match store.attempt(&counted.account_key, &request).await {
        Ok(AttemptOutcome::Admitted(ticket)) => {
            counted.at_account = ticket;
            return Ok(Begun::Admitted(Attempt::new(counted)));
        }
        Ok(AttemptOutcome::Locked { retry_after, by: LockedBy::Source }) => {
            Ok(Begun::Locked { retry_after, by: LockedOutBy::AccountFromNetwork })
        }
        Ok(AttemptOutcome::Locked { retry_after, .. }) => {
            Ok(Begun::Locked { retry_after, by: LockedOutBy::Account })
        }
        Ok(AttemptOutcome::Unknown) => match network_locked {
            Some(retry_after) => Ok(Begun::Locked { retry_after, by: LockedOutBy::Network }),
            None => Err(unexpected()),
        },
        Err(error) => Err(error),
    };
    // It is not made, so it counts nowhere.
    if network_locked.is_none() {
        let settlement = Settlement::Withdrawn { source: None, ticket: counted.at_network };
        let withdrawn = store.settle(&counted.network_key, &settlement).await;
        if let Err(error) = withdrawn {
            tracing::debug!(%error, "an attempt that was not made still counts for its network");
        }
    }
    locked
}

fn unexpected() -> Error {
    Error::new(ErrorKind::Internal, "the store refused an attempt for a reason that it was not given")
}
