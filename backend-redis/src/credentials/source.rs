//! Where the credentials of a backend come from, asked without trusting it.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use stanchion::{Error, ErrorKind, Result};

use super::provider::CredentialsProvider;
use super::value::Credentials;

/// Where credentials come from. `Debug` shows none of them.
#[derive(Clone, Default)]
pub(crate) enum Source {
    /// The server asks for none.
    #[default]
    None,
    /// Always the same.
    Fixed(Credentials),
    /// Those of now.
    Provider(Arc<dyn CredentialsProvider>),
}

impl Source {
    /// Those that are always the same, if they are.
    pub(crate) fn fixed(&self) -> Option<&Credentials> {
        match self {
            Self::Fixed(credentials) => Some(credentials),
            Self::None | Self::Provider(_) => None,
        }
    }

    /// The credentials of now, within the deadline; `None` where none are needed.
    pub(crate) async fn credentials(&self, deadline: Duration) -> Result<Option<Credentials>> {
        match self {
            Self::None => Ok(None),
            Self::Fixed(credentials) => Ok(Some(credentials.clone())),
            Self::Provider(provider) => ask(&**provider, deadline).await.map(Some),
        }
    }
}

async fn ask(provider: &dyn CredentialsProvider, deadline: Duration) -> Result<Credentials> {
    // Also what it does before it answers a future is caught.
    let asking = AssertUnwindSafe(async { provider.credentials().await }).catch_unwind();
    match tokio::time::timeout(deadline, asking).await {
        Ok(Ok(Ok(credentials))) => Ok(credentials),
        Ok(Ok(Err(error))) => Err(without_its_text(&error)),
        Ok(Err(_)) => Err(Error::new(ErrorKind::Internal, "the credentials provider panicked")),
        Err(_) => Err(Error::new(
            ErrorKind::Timeout,
            format!("the credentials provider did not answer within {deadline:?}"),
        )),
    }
}

/// Text and sources may quote a secret.
fn without_its_text(error: &Error) -> Error {
    let kind = error.kind();
    let shown = Error::new(kind, format!("the credentials provider failed ({kind}); its own log says why"));
    match error.retry_after() {
        Some(wait) => shown.with_retry_after(wait),
        None => shown,
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("None"),
            Self::Fixed(credentials) => credentials.fmt(f),
            Self::Provider(_) => f.write_str("CredentialsProvider"),
        }
    }
}

#[cfg(test)]
mod tests {
    use async_trait::async_trait;

    use super::*;

    enum Bad {
        Hangs,
        Fails(ErrorKind),
        Panics,
    }

    #[async_trait]
    impl CredentialsProvider for Bad {
        async fn credentials(&self) -> Result<Credentials> {
            match self {
                Self::Hangs => std::future::pending().await,
                Self::Fails(kind) => {
                    let source = std::io::Error::other("sesame");
                    Err(Error::new(*kind, "the secret is sesame").with_source(source))
                }
                Self::Panics => panic!("sesame"),
            }
        }
    }

    #[tokio::test]
    async fn what_is_wrong_with_a_provider_is_said_without_its_words() {
        for (bad, kind) in [
            (Bad::Hangs, ErrorKind::Timeout),
            (Bad::Fails(ErrorKind::Denied), ErrorKind::Denied),
            (Bad::Fails(ErrorKind::Unavailable), ErrorKind::Unavailable),
            (Bad::Panics, ErrorKind::Internal),
        ] {
            let source = Source::Provider(Arc::new(bad));
            let error = source.credentials(Duration::from_millis(20)).await.unwrap_err();
            assert_eq!(error.kind(), kind, "{error}");
            assert!(error.to_string().contains("credentials provider"), "{error}");
            assert!(!format!("{error} {error:?} {error:#?}").contains("sesame"), "{error:?}");
            assert!(std::error::Error::source(&error).is_none());
        }
    }
}
