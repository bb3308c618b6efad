//! Other issuers whose tokens are accepted.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::algorithm::{Family, JwtAlgorithm};
use super::error::VerifyError;
use super::expect::{Audience, Expected};
use super::fetch::FetchJwks;
use super::jwks::Jwks;
use super::key::JwtKey;
use super::remote::{Pace, Remote};
use crate::cache::CacheStore;
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::key::Key;
use crate::layer::deadline::bounded;
use crate::time::{hours, minutes, seconds};

/// Another issuer, whose tokens [`Tokens::verify`](crate::token::Tokens::verify) accepts beside its own: an identity provider,
/// say. Handed to [`TokensBuilder::accepting`](crate::token::TokensBuilder::accepting).
///
/// Its tokens are revoked as one's own are, by id, user, session (`sid`), client (`client_id` or `azp`), or all; they carry no epochs,
/// so it is by `iat`. A user of another issuer may have the same `sub` as one of this service: look at
/// [`Claims::iss`](super::Claims::iss) too, and know that revoking one revokes the other.
///
/// # Keys
/// A fixed set, or one that is fetched: with the first token, and again
/// - in the background once it is [`refresh_every`](Self::refresh_every) old; before anything is verified by it once it is twice as
///   old. So a key that the issuer has withdrawn is refused within twice that time, as long as the issuer can be reached;
/// - for a `kid` that is not in it, but not within [`cool_down`](Self::cool_down) of the last fetch, however many tokens ask: until
///   then they are [`UnknownKey`](super::Invalid::UnknownKey);
/// - after a failed fetch with a growing pause of a second and more, up to the cool-down. Until then keys that are there are used, for
///   [`keep_for`](Self::keep_for) at most, and what they can't tell is [`Unchecked`](VerifyError::Unchecked).
///
/// One fetch is in flight in a process at a time, in a task of its own, for [`timeout`](Self::timeout) at most.
#[must_use = "hand it to TokensBuilder::accepting"]
pub struct Issuer {
    expected: Expected,
    source: Result<Source>,
    pace: Pace,
    rsa: JwtAlgorithm,
    shared: Option<Arc<dyn CacheStore>>,
}

enum Source {
    Fixed(Jwks),
    Fetched(Arc<dyn FetchJwks>),
}

impl Issuer {
    fn new(issuer: impl Into<String>, source: Result<Source>) -> Self {
        Self {
            expected: Expected::new(issuer, false),
            source,
            pace: Pace {
                refresh_every: minutes(10),
                cool_down: seconds(30),
                keep_for: hours(24),
                timeout: seconds(5),
            },
            rsa: JwtAlgorithm::RS256,
            shared: None,
        }
    }

    /// The issuer with this `iss` and these keys.
    pub fn with_keys(issuer: impl Into<String>, keys: Jwks) -> Self {
        Self::new(issuer, Ok(Source::Fixed(keys)))
    }

    /// The issuer with this `iss`, whose keys are fetched.
    pub fn fetching(issuer: impl Into<String>, from: Arc<dyn FetchJwks>) -> Self {
        Self::new(issuer, Ok(Source::Fetched(from)))
    }

    /// The issuer with this `iss`, whose keys are at this address: `https`, or `http` on this machine. What is wrong with the address
    /// is said by [`build`](crate::token::TokensBuilder::build).
    #[cfg(feature = "jwks")]
    pub fn jwks(issuer: impl Into<String>, url: &str) -> Self {
        let http = super::http::HttpJwks::new(url);
        Self::new(issuer, http.map(|http| Source::Fetched(Arc::new(http))))
    }

    /// Who this service is, as this issuer says it in `aud`. Of several calls, any will do. This, or
    /// [`any_audience`](Self::any_audience), has to be said: the tokens that an issuer makes for others are not for this service.
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.expected.add_audience(audience.into());
        self
    }

    /// Accepts this issuer's tokens whoever they are for.
    pub fn any_audience(mut self) -> Self {
        self.expected.audience = Audience::Any;
        self
    }

    /// The `typ` that its tokens have to have; of several calls, any. See
    /// [`TokensBuilder::token_type`](crate::token::TokensBuilder::token_type).
    pub fn token_type(mut self, typ: impl Into<String>) -> Self {
        self.expected.types.push(typ.into());
        self
    }

    /// What RSA keys without `alg` are for, where keys are fetched; `RS256` unless set.
    pub fn rsa_algorithm(mut self, algorithm: JwtAlgorithm) -> Self {
        self.rsa = algorithm;
        self
    }

    /// How old fetched keys get before they are fetched again; 10 minutes unless set.
    pub fn refresh_every(mut self, age: Duration) -> Self {
        self.pace.refresh_every = age;
        self
    }

    /// The pause after a fetch in which no unknown `kid` causes another; 30 seconds unless set, and a second at least.
    pub fn cool_down(mut self, pause: Duration) -> Self {
        self.pace.cool_down = pause;
        self
    }

    /// How old fetched keys get at most, where they can't be fetched again; 24 hours unless set.
    pub fn keep_for(mut self, age: Duration) -> Self {
        self.pace.keep_for = age;
        self
    }

    /// How long a fetch may take, and a token waits for one; 5 seconds unless set.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.pace.timeout = timeout;
        self
    }

    /// Shares what was fetched with other processes, under `cache:token-issuer:{issuer}`: one that needs the keys takes those that
    /// another has fetched lately. Whoever may write there says whose tokens are accepted, so do it where that is trusted as
    /// much as the issuer is.
    pub fn shared_through(mut self, store: Arc<dyn CacheStore>) -> Self {
        self.shared = Some(store);
        self
    }

    pub(super) fn build(self, environment: &Environment) -> Result<Accepted> {
        let Self { expected, source, pace, rsa, shared } = self;
        expected.check()?;
        if matches!(expected.audience, Audience::Unnamed) {
            return Err(Error::invalid(format!(
                "say which tokens of {} are for this service: Issuer::audience",
                expected.issuer
            )));
        }
        if rsa.family() != Family::Rsa {
            return Err(Error::invalid(format!("{rsa} takes no RSA keys")));
        }
        let keys = match source? {
            Source::Fixed(Jwks { keys, .. }) if keys.is_empty() => {
                return Err(Error::invalid(format!(
                    "the key set of {} has no key to verify by",
                    expected.issuer
                )));
            }
            Source::Fixed(set) => Keys::Fixed(set.keys.into()),
            Source::Fetched(from) => {
                let shared = shared.map(|store| {
                    let key = Key::new("cache", "token-issuer", expected.issuer.as_str())?;
                    Ok::<_, Error>((bounded(store, environment), key))
                });
                Keys::Fetched(Remote::new(
                    from,
                    pace.checked()?,
                    rsa,
                    shared.transpose()?,
                    environment.clone(),
                ))
            }
        };
        Ok(Accepted { expected, keys })
    }
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("expected", &self.expected).finish_non_exhaustive()
    }
}

/// An issuer whose tokens are accepted.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) expected: Expected,
    keys: Keys,
}

#[derive(Debug)]
enum Keys {
    Fixed(Arc<[JwtKey]>),
    Fetched(Arc<Remote>),
}

impl Accepted {
    /// The keys among which that of a token with this header is, if it is anywhere.
    pub(super) async fn keys(
        &self,
        kid: Option<&str>,
        algorithm: JwtAlgorithm,
    ) -> Result<Arc<[JwtKey]>, VerifyError> {
        match &self.keys {
            Keys::Fixed(keys) => Ok(Arc::clone(keys)),
            Keys::Fetched(remote) => remote.keys(kid, algorithm).await,
        }
    }
}
