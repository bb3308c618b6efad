//! Tokens that are issued within a session.

use super::Sessions;
use super::view::SessionView;
use crate::error::{Error, ErrorKind, Result};
use crate::key::bucket_of;
use crate::session::{SessionCapabilities, SessionId};
use crate::token::{IssueOptions, IssueOutcome, Tokens};

impl Sessions {
    /// Issues a token within a session, for its user: `Gone` if it has ended.
    ///
    /// The epochs that the token will carry are read first, then the session is looked up, and the token is signed only if it is
    /// alive. So whoever ends the session revokes the token too, however the two coincide: what was issued before the
    /// end is revoked by it, and nothing is issued after. Nor does the token live for longer than the session would if it
    /// were not used any more (rounded up to a second, and beside the [skew](Tokens::SKEW)): a session that times
    /// out takes its tokens with it. It does not count as a use of the session.
    ///
    /// # Errors
    /// As [`Tokens::issue`]; `Config` for tokens that these sessions don't
    /// [revoke](super::SessionsBuilder::revoking_tokens).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn issue(
        &self,
        tokens: &Tokens,
        session: &SessionView,
        options: IssueOptions,
    ) -> Result<IssueOutcome> {
        self.issue_id(tokens, session.user(), session.id(), options).await
    }

    /// The same by the session's public name, as a token's `sid` has it.
    ///
    /// # Errors
    /// As [`issue`](Self::issue), and `InvalidInput` if the session is another user's.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn issue_id(
        &self,
        tokens: &Tokens,
        user: &str,
        session: &SessionId,
        options: IssueOptions,
    ) -> Result<IssueOutcome> {
        let inner = &*self.0;
        if !inner.revoker.as_ref().is_some_and(|revoker| revoker.tokens.revokes_tokens_of(tokens)) {
            return Err(Error::new(
                ErrorKind::Config,
                "ending a session would not revoke these tokens: hand them to revoking_tokens when the sessions are built",
            )
            .with_operation("session.issue"));
        }
        SessionCapabilities::check_user(user)?;
        let another = || Error::invalid("the session is another user's").with_operation("session.issue");
        if session.bucket() != bucket_of(user) {
            return Err(another());
        }
        let mut draft = tokens.draft(user, Some(session), options).await?;
        let Some(record) = inner.bare.load(&inner.service, session).await? else {
            return Ok(IssueOutcome::Gone);
        };
        if record.user != user {
            return Err(another());
        }
        if record.id != *session {
            // It was rotated, and ending it would not revoke what is issued under its old name.
            return Ok(IssueOutcome::Gone);
        }
        draft.at_most(record.expires_in);
        tokens.sign(draft).map(IssueOutcome::Issued)
    }
}
