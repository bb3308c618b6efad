//! What the tokens of a service are issued and verified by.

use std::sync::Arc;

use jsonwebtoken::EncodingKey;

use super::expect::{Audience, Expected};
use super::issuer::{Accepted, Issuer};
use super::jwks::Jwks;
use super::key::JwtKey;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::token::{Tokens, TokensBuilder};

/// What a [`TokensBuilder`] was given.
#[derive(Debug)]
pub(in crate::token) struct Settings {
    own: Expected,
    keys: Vec<JwtKey>,
    others: Vec<Issuer>,
}

impl Settings {
    pub(in crate::token) fn new(service: impl Into<String>) -> Self {
        Self { own: Expected::new(service, true), keys: Vec::new(), others: Vec::new() }
    }

    /// Of this issuer; of the service's name unless there is one.
    pub(in crate::token) fn build(self, issuer: Option<String>, environment: &Environment) -> Result<Jwt> {
        let Self { mut own, keys, others } = self;
        if let Some(issuer) = issuer {
            own.issuer = issuer;
        }
        let mut ids: Vec<_> = keys.iter().map(|key| &key.id).collect();
        ids.sort_unstable();
        if ids.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid("two JWT keys have the same id"));
        }
        own.check()?;
        let others =
            others.into_iter().map(|issuer| issuer.build(environment)).collect::<Result<Vec<_>>>()?;
        let mut issuers: Vec<_> =
            others.iter().map(|other| &other.expected).chain([&own]).map(|one| &one.issuer).collect();
        issuers.sort_unstable();
        if issuers.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Error::invalid("two token issuers have the same name"));
        }
        Ok(Jwt { own, keys: keys.into(), others })
    }
}

/// The same, checked.
#[derive(Debug)]
pub(in crate::token) struct Jwt {
    pub(super) own: Expected,
    pub(super) keys: Arc<[JwtKey]>,
    pub(super) others: Vec<Accepted>,
}

impl Jwt {
    /// The `iss` claim of its own tokens.
    pub(in crate::token) fn issuer(&self) -> &str {
        &self.own.issuer
    }

    /// Whether it has keys of its own.
    pub(in crate::token) fn has_keys(&self) -> bool {
        !self.keys.is_empty()
    }

    pub(in crate::token) fn signing_key(&self) -> Result<(&JwtKey, &EncodingKey)> {
        let key = self.keys.first().and_then(|key| Some((key, key.signing.as_ref()?)));
        key.ok_or_else(|| {
            Error::new(ErrorKind::Config, "there is no key to sign with: give TokensBuilder::key one first")
        })
    }
}

impl TokensBuilder {
    /// The `iss` claim of issued tokens, which verified ones must have; the service's name unless set. It is recorded as
    /// [`max_life`](Self::max_life) is, and whoever has keys must expect the recorded one.
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// Adds a key. The first signs; all verify, each its own tokens by the `kid` header, so that keys can be
    /// rotated: add the new one behind, deploy, put it first, deploy, remove the old one after the longest
    /// life.
    pub fn key(mut self, key: JwtKey) -> Self {
        self.jwt.keys.push(key);
        self
    }

    /// Accepts the tokens of another issuer too, by its own keys and no others.
    pub fn accepting(mut self, issuer: Issuer) -> Self {
        self.jwt.others.push(issuer);
        self
    }

    /// Who this service is, as tokens say it in `aud`: one that is not for it is refused, and so is one that does not say.
    /// Issued tokens are for it unless [`IssueOptions::audience`](crate::token::IssueOptions::audience) says otherwise. Of several
    /// calls, any will do.
    ///
    /// Without, a token that says whom it is for is for somebody else, and is refused (RFC 7519, 4.1.3).
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.jwt.own.add_audience(audience.into());
        self
    }

    /// Accepts tokens whoever they are for: for a service that checks tokens for others, and looks at
    /// [`Claims::aud`](super::Claims::aud) itself.
    pub fn any_audience(mut self) -> Self {
        self.jwt.own.audience = Audience::Any;
        self
    }

    /// The `typ` of issued tokens, which verified ones must have: `at+jwt`, say (RFC 8725, 3.11). Of several calls, issued
    /// tokens have the first, and verified ones may have any.
    ///
    /// Without, `JWT` is issued, and a token may have that, `at+jwt`, or none; every other type is for something else than access,
    /// and is refused.
    pub fn token_type(mut self, typ: impl Into<String>) -> Self {
        self.jwt.own.types.push(typ.into());
        self
    }
}

impl Tokens {
    /// The public keys that tokens of this service are verified by, for others to fetch: all that were given to
    /// [`key`](TokensBuilder::key), but for secrets.
    pub fn jwks(&self) -> Jwks {
        Jwks::of(self.0.jwt.keys.iter().cloned())
    }
}
