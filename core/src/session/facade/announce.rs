//! What happens to sessions is published.

use super::Sessions;
use crate::session::SessionId;

impl Sessions {
    /// Something may have happened to this session or to others of its user, which is to be published now.
    pub(super) fn notify(&self, id: &SessionId) {
        if let Some(publisher) = &self.0.publisher {
            publisher.notify(id);
        }
    }
}
