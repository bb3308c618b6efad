//! What is set of sentinels.

use std::fmt;
use std::sync::Arc;

use crate::credentials::Credentials;

/// What is set of sentinels, whose addresses are those of the settings. `Debug` shows no password.
#[derive(Clone, Default)]
pub(crate) struct SentinelSettings {
    /// What they call the master; `None` where there are none.
    pub(crate) master: Option<Arc<str>>,
    pub(crate) credentials: Option<Credentials>,
    /// Whether they are reached by TLS, where that is not as at the master.
    pub(crate) tls: Option<bool>,
}

impl fmt::Debug for SentinelSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(master) = &self.master else { return f.write_str("None") };
        f.debug_struct("Sentinel")
            .field("master", master)
            .field("credentials", &self.credentials)
            .field("tls", &self.tls)
            .finish()
    }
}
