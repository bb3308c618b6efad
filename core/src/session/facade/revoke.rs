//! Revoking the tokens of sessions that end.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};

use super::owed::Owed;
use super::unrevoked::Unrevoked;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::token::{Scope, Tokens};

/// How many are revoked at once.
const AT_ONCE: usize = 16;

/// Revokes the tokens of sessions, before they end and after. What it can't revoke after, it owes: a task goes on trying.
pub(super) struct Revoker {
    pub(super) tokens: Tokens,
    environment: Environment,
    owed: Owed,
}

/// What could not be revoked, and why.
type Failed = Option<(Vec<Scope>, Error)>;

impl Revoker {
    /// The pauses between two tries.
    const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(30));

    pub(super) fn new(tokens: Tokens, environment: Environment) -> Arc<Self> {
        Arc::new(Self { tokens, environment, owed: Owed::default() })
    }

    /// Before the sessions end: where it fails they are still there, and can be ended again.
    pub(super) async fn before(&self, scopes: Vec<Scope>) -> Result<()> {
        match self.revoke(scopes).await {
            None => Ok(()),
            Some((_, error)) => Err(error),
        }
    }

    /// After they have ended: tokens that were issued in between. It is tried twice, and then by the task.
    pub(super) async fn after(self: &Arc<Self>, user: &str, scopes: Vec<Scope>) -> Result<()> {
        let (all, last): (HashSet<_>, _) = (scopes.iter().cloned().collect(), self.owed.last());
        let left = match self.revoke(scopes).await {
            None => None,
            Some((scopes, _)) => self.revoke(scopes).await,
        };
        let Some((scopes, cause)) = left else {
            self.owed.paid(last, |scope| all.contains(scope));
            return Ok(());
        };
        let late: HashSet<_> = scopes.iter().collect();
        self.owed.paid(last, |scope| all.contains(scope) && !late.contains(scope));
        let is_retried = self.owe(user, &scopes);
        Err(Unrevoked::new(scopes, is_retried, cause).into_error())
    }

    /// What is still to be revoked of the user's ended sessions.
    pub(super) fn owed_of(&self, user: &str) -> Vec<Scope> {
        self.owed.of(user)
    }

    /// Whose the session was, if its tokens are still to be revoked.
    pub(super) fn owed_by(&self, scope: &Scope) -> Option<String> {
        self.owed.user_of(scope)
    }

    /// Revokes all, a few at a time, and none more after one has failed: where the store is away, each would take its time.
    async fn revoke(&self, scopes: Vec<Scope>) -> Failed {
        // Collected first: a closure within the stream would keep callers from spawning this future.
        let calls: Vec<_> = scopes.iter().map(|scope| self.revoke_one(scope)).collect();
        let mut calls = stream::iter(calls).buffer_unordered(AT_ONCE);
        let (mut done, mut failure) = (HashSet::new(), None);
        while let Some((scope, revoked)) = calls.next().await {
            match revoked {
                Ok(()) => _ = done.insert(scope.clone()),
                Err(error) => {
                    failure = Some(error);
                    break;
                }
            }
        }
        drop(calls);
        let error = failure?;
        Some((scopes.into_iter().filter(|scope| !done.contains(scope)).collect(), error))
    }

    async fn revoke_one<'a>(&self, scope: &'a Scope) -> (&'a Scope, Result<()>) {
        (scope, self.tokens.revoke_scope(scope).await.map(drop))
    }

    /// Has the task go on trying; whether it does.
    fn owe(self: &Arc<Self>, user: &str, scopes: &[Scope]) -> bool {
        let until = self.environment.clock.now().saturating_add(self.tokens.revocations_kept_for());
        match self.owed.add(user, scopes, until) {
            None => false,
            Some(false) => true,
            Some(true) => {
                let (revoker, closing) = (Arc::clone(self), self.environment.tasks.closing());
                let spawned = self.environment.tasks.spawn(async move { revoker.pay(closing).await });
                if spawned.is_err() {
                    self.owed.stopped();
                }
                spawned.is_ok()
            }
        }
    }

    /// Revokes what is owed, until nothing is, or the stores are closing: then once more.
    async fn pay(&self, closing: impl Future<Output = ()>) {
        let (mut pause, longest) = Self::PAUSES;
        let mut closing = std::pin::pin!(closing);
        loop {
            let is_last = tokio::select! {
                biased;
                () = &mut closing => true,
                () = self.environment.sleep(pause) => false,
            };
            let last = self.owed.last();
            let Some(due) = self.owed.due(self.environment.clock.now()) else {
                return;
            };
            let all: HashSet<_> = due.iter().cloned().collect();
            let failed = self.revoke(due).await;
            let late: HashSet<_> = failed.iter().flat_map(|(scopes, _)| scopes).collect();
            self.owed.paid(last, |scope| all.contains(scope) && !late.contains(scope));
            if let (true, Some((scopes, error))) = (is_last, failed) {
                tracing::error!(%error, ?scopes, "the tokens of ended sessions could not be revoked");
                self.owed.stopped();
                return;
            }
            pause = pause.saturating_mul(2).min(longest);
        }
    }
}
