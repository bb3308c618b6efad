//! What a request does with its session: find it, use it, change it.

use super::anonymous::of_a_user;
use super::{SessionView, Sessions};
use crate::error::Result;
use crate::session::{
    Patch, PatchOutcome, SessionId, SessionRecord, SessionStore, SessionToken, TouchOutcome,
};
use std::sync::Arc;

impl Sessions {
    /// What a client sent as its token: the session, and its use is recorded; or `None` if it is no token
    /// or there is no such session of a user. For sessions of nobody yet there is [`resume`](Self::resume).
    ///
    /// One command, which writes only where a use is due to be recorded: a tenth of the idle timeout after the last one that
    /// was, and at least once a minute. The session lives that much longer than its idle timeout, so that it never ends
    /// sooner after its last use than that says.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors). An error means that nobody knows whether the session lives.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the session either used or not.
    pub async fn authenticate(&self, text: &str) -> Result<Option<SessionView>> {
        Ok(self.use_text(text).await?.and_then(of_a_user))
    }

    /// The session of a user, or `None`. No use is recorded.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn load(&self, token: &SessionToken) -> Result<Option<SessionView>> {
        let session = self.find(token).await;
        self.0.telemetry.loaded(&session);
        session
    }

    pub(super) async fn find(&self, token: &SessionToken) -> Result<Option<SessionView>> {
        Ok(self.stored(token).await?.and_then(|(_, record)| of_a_user(record)))
    }

    /// What is stored under the first of the names that the token may have, and that name.
    pub(super) async fn stored(&self, token: &SessionToken) -> Result<Option<(SessionId, SessionRecord)>> {
        self.stored_in(&self.0.store, token).await
    }

    /// [`stored`](Self::stored), read through one of the façade's two ways to the store.
    pub(super) async fn stored_in(
        &self,
        store: &Arc<dyn SessionStore>,
        token: &SessionToken,
    ) -> Result<Option<(SessionId, SessionRecord)>> {
        for id in self.ids(token) {
            if let Some(record) = store.load(&self.0.service, &id).await? {
                return Ok(Some((id, record)));
            }
        }
        Ok(None)
    }

    /// Sets and removes fields, and records a use. Fields that are not named stay as they are, so two
    /// requests that change different fields don't undo each other.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors); `InvalidInput` also where the session would hold too much with these fields, of
    /// which nothing is stored then. After `Unknown` it may have been applied: load the session, and compare the
    /// version.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the patch either applied or not.
    pub async fn patch(&self, token: &SessionToken, patch: &Patch) -> Result<PatchOutcome> {
        for id in self.ids(token) {
            match self.patch_id(&id, patch).await? {
                PatchOutcome::Gone => {}
                there => return Ok(there),
            }
        }
        Ok(PatchOutcome::Gone)
    }

    /// Records a use, at once and always.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors). Touching again does no harm.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the session either used or not.
    pub async fn touch(&self, token: &SessionToken) -> Result<TouchOutcome> {
        for id in self.ids(token) {
            match self.0.store.touch(&self.0.service, &id).await? {
                TouchOutcome::Gone => {}
                there => return Ok(there),
            }
        }
        Ok(TouchOutcome::Gone)
    }
}
