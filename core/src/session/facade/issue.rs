//! Tokens that are issued within a session.

use super::Sessions;
use super::view::SessionView;
use crate::error::{Error, ErrorKind, Result};
use crate::key::bucket_of;
use crate::session::{SessionCapabilities, SessionId, SessionRecord};
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
        self.must_revoke(tokens, "session.issue")?;
        of_user(user, session)?;
        let mut draft = tokens.draft(user, Some(session.to_string()), options).await?;
        let Some(record) = inner.bare.load(&inner.service, session).await? else {
            return Ok(IssueOutcome::Gone);
        };
        if !is_alive(&record, user, session)? {
            return Ok(IssueOutcome::Gone);
        }
        draft.at_most(record.expires_in);
        tokens.sign(draft).await.map(IssueOutcome::Issued)
    }

    /// Ending a session has to end what is issued within it.
    pub(super) fn must_revoke(&self, tokens: &Tokens, operation: &'static str) -> Result<()> {
        if self.0.revoker.as_ref().is_some_and(|revoker| revoker.tokens.revokes_tokens_of(tokens)) {
            return Ok(());
        }
        let message = "ending a session would not revoke these tokens: hand them to revoking_tokens when the sessions are built";
        Err(Error::new(ErrorKind::Config, message).with_operation(operation))
    }
}

fn another() -> Error {
    Error::invalid("the session is another user's").with_operation("session.issue")
}

/// Refuses a session that can't be the user's, before anybody is asked.
pub(super) fn of_user(user: &str, session: &SessionId) -> Result<()> {
    SessionCapabilities::check_user(user)?;
    if session.bucket() == bucket_of(user) { Ok(()) } else { Err(another()) }
}

/// Whether something may be issued within a session that was found under this name.
pub(super) fn is_alive(record: &SessionRecord, user: &str, session: &SessionId) -> Result<bool> {
    if record.user != user {
        return Err(another());
    }
    // One that was rotated has another name now, and ending it would not revoke what is issued under the old one.
    Ok(record.id == *session)
}
