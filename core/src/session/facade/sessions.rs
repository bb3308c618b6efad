//! The sessions of one service.

use std::fmt;
use std::sync::Arc;

use super::revoke::Revoker;
use crate::environment::Environment;
use crate::key::Name;
use crate::session::publisher::Publisher;
use crate::session::telemetry::Telemetry;
use crate::session::{SessionBounds, SessionId, SessionLimit, SessionStore, SessionToken};

/// The sessions of one service, under `{service}:session:…`. Cheap to clone; clones share everything.
///
/// # Errors
/// Every method that is `async` answers `Closed` once the stores are, and the store's error where it does not answer;
/// [`Error::effect`](crate::Error::effect) says whether a change may have happened. Those that take a user or fields answer `InvalidInput` for
/// a user id that is empty or longer than 512 bytes after escaping, and for more than 256 KiB in 4,096 fields
/// ([`max_data_bytes`](crate::session::SessionCapabilities::max_data_bytes), [`max_fields`](crate::session::SessionCapabilities::max_fields)). That there is no such session is no error.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> stanchion::Result<()> {
/// use stanchion::prelude::*;
/// use stanchion_memory::MemoryBackend;
///
/// let sessions = MemoryBackend::new().stores().service("auth-service")?.sessions().build()?;
/// let opened = sessions.create("u1", Patch::new().value("theme", &"dark")?).await?.expect("no limit reached");
/// let cookie = opened.token.reveal();
///
/// // Another request, another process:
/// let session = sessions.authenticate(&cookie).await?.expect("a live session");
/// assert_eq!(session.user(), "u1");
/// assert_eq!(session.value::<String>("theme")?.as_deref(), Some("dark"));
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct Sessions(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub(super) store: Arc<dyn SessionStore>,
    /// The same with fields as they are stored: to end a session nobody need be able to read it.
    pub(super) bare: Arc<dyn SessionStore>,
    pub(super) telemetry: Telemetry,
    pub(super) service: Name,
    pub(super) environment: Environment,
    pub(super) bounds: SessionBounds,
    pub(super) limit: SessionLimit,
    pub(super) revoker: Option<Arc<Revoker>>,
    pub(super) publisher: Option<Publisher>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions")
            .field("service", &self.0.service)
            .field("idle", &self.0.bounds.usual.idle)
            .field("absolute", &self.0.bounds.usual.absolute)
            .field("limit", &self.0.limit)
            .finish_non_exhaustive()
    }
}

impl Sessions {
    /// The public name of the session that a token opens.
    ///
    /// While the hashing key is being [rotated](crate::environment::HashingKey#rotation), a session that was opened before has
    /// another name, which its [view](super::SessionView::id) says.
    pub fn id(&self, token: &SessionToken) -> SessionId {
        self.0.environment.hashing_key.session_id(token)
    }

    /// The names that the session of a token may have: one, unless the hashing key is being rotated.
    pub(super) fn ids(&self, token: &SessionToken) -> impl Iterator<Item = SessionId> {
        self.0.environment.hashing_key.session_ids(token)
    }
}
