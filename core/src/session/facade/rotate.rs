//! Another token for a session that goes on.

use std::time::Duration;

use super::Sessions;
use super::anonymous::Resumed;
use super::create::id_taken;
use super::end::scope;
use super::owned::owned;
use crate::error::{Effect, Result};
use crate::session::{Patch, RotateOutcome, Rotation, SessionId, SessionToken};

/// What came of rotating a session.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[expect(
    clippy::large_enum_variant,
    reason = "nearly always the largest is answered, and at once taken apart"
)]
#[must_use = "the session may not have been rotated"]
pub enum Rotated {
    /// It goes on under a new token, which the client has to be sent.
    Rotated {
        /// The secret for the client. It can't be had again.
        token: SessionToken,
        /// The session.
        session: Resumed,
    },
    /// Somebody else has rotated it first, and has the new token.
    Superseded {
        /// The id that it goes on under.
        by: SessionId,
    },
    /// The patch expected another version; nothing was changed.
    Conflict {
        /// The version it has.
        version: u64,
    },
    /// There is no such session, or no longer.
    Gone,
}

impl Sessions {
    /// For how long the old token is good after [`rotate`](Self::rotate) unless another grace is asked for: 10 seconds.
    pub const ROTATION_GRACE: Duration = Duration::from_secs(10);

    /// Gives the session another token and public name, and changes it in the same step: after a step up of rights, or from time
    /// to time. It keeps its fields, its absolute deadline, and its place among the user's sessions.
    ///
    /// Of any number of rotations of one session at once one is done. For the grace the old token opens the session still, so that
    /// requests which are under way, in another tab or over a bad line, are served; after it never again. It opens then what the
    /// session has become: where whoever has the old token must not have the new rights, let the grace be zero.
    ///
    /// Tokens that were issued within the session under its old name are revoked, where the sessions
    /// [revoke tokens](super::SessionsBuilder::revoking_tokens).
    ///
    /// # Errors
    /// Those of [`patch`](Self::patch); `InvalidInput` also for a grace of more than five minutes. If the tokens under the old name
    /// could not be revoked the session was not rotated, or it is ended; the error's effect is then `Unknown`.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the session with a token that nobody has: after the grace it is lost, and its user logs in
    /// again.
    pub async fn rotate(&self, token: &SessionToken, patch: Patch, grace: Duration) -> Result<Rotated> {
        let (sessions, token) = (self.clone(), token.clone());
        owned(&self.0.environment.tasks, async move { sessions.rotate_now(&token, patch, grace).await }).await
    }

    async fn rotate_now(&self, token: &SessionToken, patch: Patch, grace: Duration) -> Result<Rotated> {
        let inner = &*self.0;
        let Some((id, found)) = self.stored_in(&inner.bare, token).await? else {
            return Ok(Rotated::Gone);
        };
        if found.id != id {
            return Ok(Rotated::Superseded { by: found.id });
        }
        let id = &id;
        if let Some(revoker) = &inner.revoker {
            revoker.before(vec![scope(id)]).await?;
        }
        let token = SessionToken::beside(id, &*inner.environment.random)?;
        let to = self.id(&token);
        let rotation = Rotation::to(to.clone()).patch(patch).grace(grace);
        let rotated = inner.store.rotate(&inner.service, &found.user, id, &rotation).await;
        self.notify(id);
        let record = match rotated {
            Ok(RotateOutcome::Rotated { record }) => record,
            Ok(RotateOutcome::Superseded { by }) => return Ok(Rotated::Superseded { by }),
            Ok(RotateOutcome::Conflict { version }) => return Ok(Rotated::Conflict { version }),
            Ok(RotateOutcome::IdTaken) => return Err(id_taken("session.rotate")),
            Ok(RotateOutcome::Gone) => {
                // It was there a moment ago: a token may have been issued since.
                if let Some(revoker) = &inner.revoker {
                    revoker.after(&found.user, vec![scope(id)]).await?;
                }
                return Ok(Rotated::Gone);
            }
            Err(error) if error.effect() == Effect::NotApplied => return Err(error),
            Err(error) => {
                // It may have gone on under the new name, which nobody knows the token of. What could not be revoked is owed, and
                // tried again.
                if let Some(revoker) = &inner.revoker {
                    let _ = revoker.after(&found.user, vec![scope(id)]).await;
                }
                self.undo(&to).await;
                return Err(error);
            }
        };
        // Those that were issued in between.
        if let Some(revoker) = &inner.revoker
            && let Err(error) = revoker.after(&found.user, vec![scope(id)]).await
        {
            self.undo(&record.id).await;
            return Err(error.with_effect(Effect::Unknown));
        }
        Ok(Rotated::Rotated { token, session: Resumed::from(record) })
    }
}
