//! How key sets of other issuers come here.

use std::fmt;

use async_trait::async_trait;

use crate::error::Result;

/// The longest key set that is read, in bytes: 256 KiB.
pub const MAX_JWKS: usize = 256 * 1024;

/// Fetches the key set of another issuer: by HTTP, with the feature `jwks` ([`HttpJwks`](crate::token::HttpJwks)), or in any
/// other way.
///
/// It is called by one task of a process at a time, after pauses that [`Issuer`](crate::token::Issuer) keeps, and dropped where it
/// takes longer than a fetch may.
#[async_trait]
pub trait FetchJwks: fmt::Debug + Send + Sync + 'static {
    /// The key set as JSON; over [`MAX_JWKS`] it is refused.
    ///
    /// # Errors
    /// Whatever keeps it from being fetched. It is shown to whoever reads logs: no credentials.
    ///
    /// # Cancel safety
    /// Dropping the future ends the fetch.
    async fn fetch(&self) -> Result<String>;
}
