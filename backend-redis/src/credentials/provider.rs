//! Who knows the credentials of now.

use async_trait::async_trait;
use stanchion::Result;

use super::value::Credentials;

/// Hands out credentials that change: passwords that are rotated, and tokens that live for minutes.
///
/// It is asked for each connection that is made, and again before the [lifetime](Credentials::lifetime) of what it handed out
/// is over. Then connections that live are authenticated anew (`AUTH`), in order with the commands of callers, without being
/// closed. It should keep what it has for as long as that is good: several connections are made at a time.
///
/// It has the [deadline](crate::RedisConfig::deadline) of an operation to answer, and the connection that it is asked for is not
/// made where it does not. What blocks a thread belongs on a thread of its own (`spawn_blocking`).
///
/// Of its errors the kind is kept: [`Denied`](stanchion::ErrorKind::Denied), say, for a role that may not read the secret, and
/// [`Unavailable`](stanchion::ErrorKind::Unavailable) where the source of the secret is away. Their text and their sources are
/// dropped, since both may quote a secret: what an operator has to read, the provider has to log. A panic is an
/// [`Internal`](stanchion::ErrorKind::Internal) error.
///
/// ```
/// use async_trait::async_trait;
/// use stanchion::{Error, ErrorKind, Result};
/// use stanchion_redis::{Credentials, CredentialsProvider};
///
/// /// The password that is in this file now, where an orchestrator keeps it up to date.
/// struct PasswordFile(std::path::PathBuf);
///
/// #[async_trait]
/// impl CredentialsProvider for PasswordFile {
///     async fn credentials(&self) -> Result<Credentials> {
///         let path = self.0.clone();
///         let read = tokio::task::spawn_blocking(move || std::fs::read_to_string(path)).await;
///         match read {
///             Ok(Ok(password)) => Ok(Credentials::new("svc", password.trim_end())),
///             _ => Err(Error::new(ErrorKind::Unavailable, "the password can't be read")),
///         }
///     }
/// }
/// ```
#[async_trait]
pub trait CredentialsProvider: Send + Sync + 'static {
    /// The credentials of now.
    ///
    /// # Errors
    /// By kind, as said above.
    ///
    /// # Cancel safety
    /// The future may be dropped at any point: at the deadline, or because nobody wants the connection any more.
    async fn credentials(&self) -> Result<Credentials>;
}
