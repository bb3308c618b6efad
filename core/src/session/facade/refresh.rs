//! Refresh tokens within a session: they end with it.

use super::Sessions;
use super::issue::{is_alive, of_user};
use super::view::SessionView;
use crate::error::Result;
use crate::session::SessionId;
use crate::token::{IssueOptions, IssueOutcome, IssuedPair, Refreshed, Rotated, Tokens};

impl Sessions {
    /// Issues an access token and a refresh token within a session, for its user: `Gone` if it has ended.
    ///
    /// As with [`issue`](Self::issue), the epochs are read first, then the session is found alive, and only then a family of refresh
    /// tokens is opened. [`refresh`](Self::refresh) looks again each time, so the family ends with the session, however that ends and
    /// whatever is done beside it.
    ///
    /// # Errors
    /// As [`Tokens::issue_pair`]; `Config` for tokens that these sessions don't [revoke](super::SessionsBuilder::revoking_tokens).
    ///
    /// # Cancel safety
    /// As [`Tokens::issue_pair`].
    pub async fn issue_pair(
        &self,
        tokens: &Tokens,
        session: &SessionView,
        options: IssueOptions,
    ) -> Result<IssueOutcome<IssuedPair>> {
        self.issue_pair_id(tokens, session.user(), session.id(), options).await
    }

    /// The same by the session's public name, as a token's `sid` has it.
    ///
    /// # Errors
    /// As [`issue_pair`](Self::issue_pair), and `InvalidInput` if the session is another user's.
    ///
    /// # Cancel safety
    /// As [`Tokens::issue_pair`].
    pub async fn issue_pair_id(
        &self,
        tokens: &Tokens,
        user: &str,
        session: &SessionId,
        options: IssueOptions,
    ) -> Result<IssueOutcome<IssuedPair>> {
        let inner = &*self.0;
        self.must_revoke(tokens, "session.issue_pair")?;
        of_user(user, session)?;
        let mut draft = tokens.draft_pair(user, Some(session), options).await?;
        let Some(record) = inner.bare.load(&inner.service, session).await? else {
            return Ok(IssueOutcome::Gone);
        };
        if !is_alive(&record, user, session)? {
            return Ok(IssueOutcome::Gone);
        }
        draft.at_most(record.expires_in);
        tokens.open_pair(draft).await.map(IssueOutcome::Issued)
    }

    /// Rotates a refresh token, as [`Tokens::refresh`] does. Where it belongs to a session that is a use of the session, and tokens
    /// are made only if it is alive: for one that has ended the answer is [`Gone`](Refreshed::Gone) or
    /// [`Revoked`](Refreshed::Revoked), and the family ends too. A session that was [rotated](Self::rotate) has ended under
    /// its old name: issue a pair under the new one.
    ///
    /// # Errors
    /// As [`Tokens::refresh`]; `Config` for tokens that these sessions don't [revoke](super::SessionsBuilder::revoking_tokens).
    ///
    /// # Cancel safety
    /// As [`Tokens::refresh`].
    pub async fn refresh(&self, tokens: &Tokens, token: &str) -> Result<Refreshed> {
        self.must_revoke(tokens, "session.refresh")?;
        let sessions = self.clone();
        let then =
            move |tokens: Tokens, rotated| async move { sessions.refresh_within(&tokens, rotated).await };
        tokens.refresh_by(token, then).await
    }

    async fn refresh_within(&self, tokens: &Tokens, rotated: Rotated) -> Result<Refreshed> {
        let Some((session, user)) = rotated.session() else {
            return tokens.complete(rotated, None).await;
        };
        // After the family's epochs were compared: what is revoked from then on revokes what is signed.
        match self.0.bare.use_session(&self.0.service, &session).await? {
            Some(record) if is_alive(&record, user, &session)? => {
                tokens.complete(rotated, Some(record.expires_in)).await
            }
            _ => Ok(tokens.discard(rotated).await),
        }
    }
}
