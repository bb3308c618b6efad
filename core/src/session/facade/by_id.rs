//! What holders of a session's public name do with it: a service that was handed a token with it as `sid`, a worker.

use super::anonymous::of_a_user;
use super::{SessionView, Sessions};
use crate::error::Result;
use crate::session::{Patch, PatchOutcome, Rotation, SessionId, TouchOutcome};

impl Sessions {
    /// The session of a user of this public name, or `None`. No use is recorded.
    ///
    /// The name is no secret: whoever asks by it must have been authenticated otherwise, as by a verified token that carries
    /// it.
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn load_id(&self, id: &SessionId) -> Result<Option<SessionView>> {
        let session = self.0.store.load(&self.0.service, id).await.map(|found| found.and_then(of_a_user));
        self.0.telemetry.loaded(&session);
        session
    }

    /// Records a use of the session of this public name; see [`load_id`](Self::load_id).
    ///
    /// # Errors
    /// Those of [every method](Sessions#errors). Touching again does no harm.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the session either used or not.
    pub async fn touch_id(&self, id: &SessionId) -> Result<TouchOutcome> {
        self.0.store.touch(&self.0.service, id).await
    }

    /// Sets and removes fields of the session of this public name, as [`patch`](Self::patch) does; see
    /// [`load_id`](Self::load_id).
    ///
    /// # Errors
    /// Those of [`patch`](Self::patch).
    ///
    /// # Cancel safety
    /// Dropping the future leaves the patch either applied or not.
    pub async fn patch_id(&self, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        let (store, service) = (&self.0.store, &self.0.service);
        let mut outcome = store.patch(service, id, patch).await?;
        // One that was rotated goes on under another name.
        for _ in 0..Rotation::MAX_HOPS {
            let PatchOutcome::Moved { to } = &outcome else { break };
            outcome = store.patch(service, to, patch).await?;
        }
        Ok(if let PatchOutcome::Moved { .. } = outcome { PatchOutcome::Gone } else { outcome })
    }
}
