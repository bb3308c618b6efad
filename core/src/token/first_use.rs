//! The one atomic first use.

use async_trait::async_trait;

use crate::error::Result;
use crate::key::Name;
use crate::time::Ttl;

/// An optional part of a [`TokenStore`](super::TokenStore): names that can be used once.
///
/// # Contract
/// - Of any number of claims of one name in one service, through any handles and processes, exactly one is the first, until its
///   TTL is over.
/// - A later claim changes nothing: it does not make the first one last longer.
/// - Names are stored hashed, apart from the ids of revoked tokens: a name that is claimed is no revoked token.
/// - A name that is empty or over [`MAX_IDENTIFIER`](crate::key::MAX_IDENTIFIER) bytes is `InvalidInput`.
///
/// # Cancel safety
/// Dropping a future of any method leaves the operation either not done or wholly done.
#[async_trait]
pub trait FirstUses: Send + Sync {
    /// Claims a name for this long: `true` if nobody has before.
    async fn claim(&self, service: &Name, name: &str, ttl: Ttl) -> Result<bool>;
}
