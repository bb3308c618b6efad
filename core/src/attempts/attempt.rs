//! An attempt that is being made.

use std::time::Duration;

use super::counted::{Counted, Settings};
use crate::error::{Error, ErrorKind, Result};
use crate::event::standard::LockedOut;
use crate::limit::Settlement;

/// An attempt that is being made. It counts as failed from the beginning, and goes on to if this is dropped.
#[derive(Debug)]
#[must_use = "an attempt that is dropped counts as failed"]
pub struct Attempt {
    counted: Option<Counted>,
}

impl Attempt {
    pub(super) const fn new(counted: Counted) -> Self {
        Self { counted: Some(counted) }
    }

    /// Whether there was a log-in to this account from this network, lately.
    pub fn is_from_known_network(&self) -> bool {
        self.counted.as_ref().is_some_and(|counted| counted.at_account.known)
    }

    /// The secret was right: the attempt counts nowhere, failures of this account from this network are forgotten, and the
    /// network is known to the account. Failures of the account from elsewhere and of the network at other accounts stay: somebody with an
    /// account of their own could forget those at will.
    ///
    /// # Errors
    /// The store's, where it does not answer. The attempt then still counts as failed; the log-in may go on.
    ///
    /// # Cancel safety
    /// It is said all the same if the future is dropped.
    pub async fn succeeded(self) -> Result<()> {
        self.settle(|counted| Settlement::Succeeded {
            source: counted.network.clone(),
            ticket: counted.at_account,
            known_for: counted.settings.known_for,
        })
        .await
    }

    /// The secret was not looked at: the attempt counts nowhere.
    ///
    /// # Errors
    /// The store's, where it does not answer. The attempt then still counts as failed.
    ///
    /// # Cancel safety
    /// It is said all the same if the future is dropped.
    pub async fn withdrawn(self) -> Result<()> {
        self.settle(|counted| Settlement::Withdrawn {
            source: Some(counted.network.clone()),
            ticket: counted.at_account,
        })
        .await
    }

    /// As [`withdrawn`](Self::withdrawn), by a task that nobody waits for.
    pub(super) fn withdraw(mut self) {
        let Some(counted) = self.counted.take() else { return };
        let at_account =
            Settlement::Withdrawn { source: Some(counted.network.clone()), ticket: counted.at_account };
        drop(settle(counted, at_account));
    }

    /// The secret was wrong. Answers for how long that locks out, if it does: the account from this network, the account, or the network,
    /// whichever is longest.
    ///
    /// # Errors
    /// Those of publishing, where [that is asked for](super::AttemptsBuilder::publishing). The failure counts all the same.
    ///
    /// # Cancel safety
    /// The failure counts, and the event is published, all the same if the future is dropped.
    pub async fn failed(mut self) -> Result<Option<Duration>> {
        let Some(counted) = self.counted.take() else { return Ok(None) };
        let locked = locked_for(&counted);
        if let Some(publishing) = publish(counted) {
            publishing?.await.ok().flatten().unwrap_or_else(|| Err(closed()))?;
        }
        Ok(locked)
    }

    async fn settle(mut self, at_account: impl FnOnce(&Counted) -> Settlement) -> Result<()> {
        let Some(counted) = self.counted.take() else { return Ok(()) };
        let at_account = at_account(&counted);
        settle(counted, at_account)?.await.ok().flatten().unwrap_or_else(|| Err(closed()))
    }
}

fn closed() -> Error {
    Error::new(ErrorKind::Closed, "the stores were closed").with_operation("limit.settle")
}

fn locked_for(counted: &Counted) -> Option<Duration> {
    counted.at_account.locks_for.max(counted.at_network.locks_for)
}

type Last = tokio::task::JoinHandle<Option<Result<()>>>;

/// Says at both keys what came of an attempt.
fn settle(counted: Counted, at_account: Settlement) -> Result<Last> {
    let tasks = counted.settings.environment.tasks.clone();
    tasks.spawn_last(async move {
        let Settings { store, .. } = &*counted.settings;
        let at_network = Settlement::Withdrawn { source: None, ticket: counted.at_network };
        let (account, network) = futures_util::join!(
            store.settle(&counted.account_key, &at_account),
            store.settle(&counted.network_key, &at_network),
        );
        account.and(network)
    })
}

/// Says that a lock-out has begun, if one has and it is to be said.
fn publish(counted: Counted) -> Option<Result<Last>> {
    let locked_for = locked_for(&counted)?;
    let topic = counted.settings.locked_out.clone()?;
    let event = LockedOut {
        account: counted.account,
        network: counted.network,
        kind: counted.settings.namespace.kind().to_string(),
        seconds: locked_for.as_secs(),
    };
    let tasks = counted.settings.environment.tasks.clone();
    Some(tasks.spawn_last(async move { topic.publish(&event).await.map(drop) }))
}

impl Drop for Attempt {
    fn drop(&mut self) {
        if let Some(counted) = self.counted.take() {
            drop(publish(counted));
        }
    }
}
