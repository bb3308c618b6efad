//! Issuing pairs, rotating, ending.

use super::grant::Grant;
use super::outcome::{EndedFamily, IssuedPair, Refreshed};
use super::policy::{Checked, RefreshPolicy};
use super::secret::RefreshToken;
use super::turn::{Rotated, Turn, ended};
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::time::Ttl;
use crate::token::{IssueOptions, IssueOutcome, LogInAttempt, RefreshFamilies, TokenStore, Tokens};

/// What refresh tokens are rotated by.
#[derive(Debug)]
pub(in crate::token) struct Refreshing {
    pub(super) policy: Checked,
}

impl Refreshing {
    pub(in crate::token) fn new(policy: RefreshPolicy, store: &dyn TokenStore) -> Result<Self> {
        if store.families().is_none() {
            return Err(no_families());
        }
        Ok(Self { policy: policy.checked()? })
    }

    /// How long a family lives, and revocations have to be kept.
    pub(in crate::token) fn life(&self) -> Ttl {
        self.policy.absolute
    }
}

impl Tokens {
    /// Issues an access token, and a refresh token for the next ones, that belong to no session: within one it is
    /// [`Sessions::issue_pair`](crate::session::Sessions::issue_pair); at the end of a log-in [`issue_pair_for`](Self::issue_pair_for). What the
    /// options say is said by every access token of the family, whose `sid` is the family's.
    ///
    /// # Errors
    /// `Config` if the tokens were not built with [`refreshing`](crate::token::TokensBuilder::refreshing); `InvalidInput` for claims of more
    /// than [`MAX_FAMILY_DATA`](crate::token::MAX_FAMILY_DATA) in all; and those of [`issue`](Self::issue).
    ///
    /// # Cancel safety
    /// Dropping the future may leave a family that nobody has a token of, until its idle time is over.
    pub async fn issue_pair(&self, user: &str, options: IssueOptions) -> Result<IssuedPair> {
        let draft = self.draft_pair(user, None, options).await?;
        self.open_pair(draft).await
    }

    /// The same for the user of a log-in that [began](Self::begin) before the password was checked; `Stale` if the user's
    /// tokens were revoked meanwhile.
    ///
    /// # Errors
    /// As [`issue_pair`](Self::issue_pair), and `InvalidInput` for an attempt at another service.
    ///
    /// # Cancel safety
    /// As [`issue_pair`](Self::issue_pair).
    pub async fn issue_pair_for(
        &self,
        attempt: &LogInAttempt,
        options: IssueOptions,
    ) -> Result<IssueOutcome<IssuedPair>> {
        let draft = self.draft_pair(attempt.user(), None, options).await?;
        if self.is_stale(attempt).await? {
            return Ok(IssueOutcome::Stale);
        }
        self.open_pair(draft).await.map(IssueOutcome::Issued)
    }

    /// Rotates a refresh token that belongs to no session: it is used up in one step at the store, and only then are tokens made.
    /// One that was issued within a session is rotated by [`Sessions::refresh`](crate::session::Sessions::refresh), which takes both.
    ///
    /// # Errors
    /// `Config` if the tokens were not built with [`refreshing`](crate::token::TokensBuilder::refreshing), or for a token of a session; and
    /// those of [every method](Tokens#errors). **An error is no rotation**: the client keeps its token and tries again. Within the
    /// [grace](RefreshPolicy::grace) that is answered by the same successor if it had been rotated.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the token rotated or not, and what follows from a reuse is done by a task that owns it.
    pub async fn refresh(&self, token: &str) -> Result<Refreshed> {
        self.refresh_by(token, |tokens, rotated| async move {
            if rotated.session().is_some() {
                let message = "a refresh token of a session is rotated by Sessions::refresh, which finds the session alive";
                return Err(Error::new(ErrorKind::Config, message).with_operation("token.refresh"));
            }
            tokens.complete(rotated, None).await
        })
        .await
    }

    /// Rotates a refresh token, in a task that owns it, and goes on by `then`.
    pub(crate) async fn refresh_by<F>(
        &self,
        token: &str,
        then: impl FnOnce(Self, Rotated) -> F + Send + 'static,
    ) -> Result<Refreshed>
    where
        F: Future<Output = Result<Refreshed>> + Send,
    {
        self.refreshing()?;
        self.families()?;
        let Some(token) = RefreshToken::parse(token) else {
            self.0.telemetry.refreshed(&Ok(Refreshed::Gone));
            return Ok(Refreshed::Gone);
        };
        let tokens = self.clone();
        self.owned(async move {
            let refreshed = match tokens.turn(&token).await {
                Ok(Turn::Over(refreshed)) => Ok(refreshed),
                Ok(Turn::Goes(rotated)) => then(tokens.clone(), rotated).await,
                Err(error) => Err(error),
            };
            tokens.0.telemetry.refreshed(&refreshed);
            refreshed
        })
        .await
    }

    /// Ends the family of a refresh token, and revokes the access tokens of its session, or of the family: at log-out. `None` if there
    /// is no such family; nothing is written then.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh): the family may have ended, or not; try again.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the family either there, or ended with its access tokens revoked by a task that owns it.
    pub async fn end_refresh(&self, token: &str) -> Result<Option<EndedFamily>> {
        self.families()?;
        let Some(token) = RefreshToken::parse(token) else { return Ok(None) };
        let (tokens, id) = (self.clone(), token.family());
        self.owned(async move {
            let Some(data) = tokens.families()?.end_family(&tokens.0.service, &id).await? else {
                return Ok(None);
            };
            let grant = Grant::decode(&data)?;
            let unrevoked = tokens.revoke_all_of(&grant).await.err();
            Ok(Some(ended(id, grant, unrevoked)))
        })
        .await
    }

    pub(super) fn refreshing(&self) -> Result<&Refreshing> {
        self.0.refreshing.as_ref().ok_or_else(|| {
            Error::new(ErrorKind::Config, "these tokens were built without TokensBuilder::refreshing")
        })
    }

    pub(super) fn families(&self) -> Result<&dyn RefreshFamilies> {
        self.0.store.families().ok_or_else(no_families)
    }

    /// In a task that goes on when the caller is gone.
    async fn owned<T: Send + 'static>(
        &self,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let unfinished = |kind, message: &str| {
            Error::new(kind, message).with_effect(Effect::Unknown).with_operation("token.rotate")
        };
        match self.0.environment.tasks.spawn(work)?.await {
            Ok(Some(outcome)) => outcome,
            Ok(None) => Err(unfinished(ErrorKind::Closed, "the stores were closed meanwhile")),
            Err(_) => Err(unfinished(ErrorKind::Internal, "the task that rotates a refresh token has died")),
        }
    }
}

fn no_families() -> Error {
    Error::unsupported("this store has no families of refresh tokens")
}

impl crate::token::TokensBuilder {
    /// Issues refresh tokens too, and rotates them: [`Tokens::issue_pair`], [`Tokens::refresh`]. How long their families live at most is
    /// recorded in the store, where it only grows, and whoever revokes a user, a client or the service keeps that for as long.
    pub fn refreshing(mut self, policy: RefreshPolicy) -> Self {
        self.refreshing = Some(policy);
        self
    }
}
