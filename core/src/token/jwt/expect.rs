//! What a verifier expects of a token beside its signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

use super::claims::Claims;
use super::compact::Compact;
use super::date::Date;
use super::error::{Invalid, VerifyError};
use crate::error::Error;
use crate::key::escape;
use crate::time::Timestamp;
use crate::token::Epoch;

/// Whom a token has to be for.
#[derive(Debug, Clone, Default)]
pub(super) enum Audience {
    /// Nobody in particular: a token that says whom it is for is for somebody else (RFC 7519, 4.1.3).
    #[default]
    Unnamed,
    /// One of these.
    OneOf(Vec<String>),
    /// Anybody.
    Any,
}

/// What tokens of one issuer have to say.
#[derive(Debug, Clone)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) audience: Audience,
    /// The types that are accepted; empty for [`USUAL`], and none.
    pub(super) types: Vec<String>,
    /// Whether this library issues them.
    pub(super) own: bool,
}

/// The types of tokens for access; `id_token`s have the first. A type that says that it is for something else is refused.
const USUAL: [&str; 2] = ["JWT", "at+jwt"];

/// By whose clock, with which allowance.
#[derive(Debug, Clone, Copy)]
pub(super) struct Times {
    pub(super) now: Timestamp,
    pub(super) skew: std::time::Duration,
    /// Whether a token may be one that holds only later.
    pub(super) early: bool,
}

impl Times {
    fn is_over(self, seconds: u64) -> bool {
        Timestamp::from_secs(seconds).saturating_add(self.skew) <= self.now
    }

    fn is_future(self, seconds: u64) -> bool {
        Timestamp::from_secs(seconds) > self.now.saturating_add(self.skew)
    }
}

impl Expected {
    pub(super) fn new(issuer: impl Into<String>, own: bool) -> Self {
        Self { issuer: issuer.into(), audience: Audience::default(), types: Vec::new(), own }
    }

    pub(super) fn check(&self) -> Result<(), Error> {
        let audiences = match &self.audience {
            Audience::OneOf(all) => all.as_slice(),
            Audience::Unnamed | Audience::Any => &[],
        };
        if self.issuer.is_empty() || audiences.iter().chain(&self.types).any(String::is_empty) {
            return Err(Error::invalid("an issuer, an audience or a type of tokens is empty"));
        }
        Ok(())
    }

    pub(super) fn add_audience(&mut self, audience: String) {
        match &mut self.audience {
            Audience::OneOf(all) => all.push(audience),
            other => *other = Audience::OneOf(vec![audience]),
        }
    }

    /// What a token of the right signature says, if it is what is expected now.
    pub(super) fn claims(&self, token: Compact<'_>, times: Times) -> Result<Claims, VerifyError> {
        self.check_type(token.typ.as_deref())?;
        let mut said = token.claims;
        let claims = self.read(&mut said, token.message, times)?;
        if times.is_over(claims.exp) {
            return Err(VerifyError::Expired);
        }
        Ok(claims)
    }

    fn check_type(&self, typ: Option<&str>) -> Result<(), Invalid> {
        // A media type, in any case; `application/` may be left out (RFC 7515, 4.1.9).
        let same = |typ: &str, expected: &str| {
            typ.eq_ignore_ascii_case(expected)
                || typ.split_once('/').is_some_and(|(tree, rest)| {
                    tree.eq_ignore_ascii_case("application") && rest.eq_ignore_ascii_case(expected)
                })
        };
        let accepted = match typ {
            None => self.types.is_empty(),
            Some(typ) if self.types.is_empty() => USUAL.iter().any(|usual| same(typ, usual)),
            Some(typ) => self.types.iter().any(|expected| same(typ, expected)),
        };
        if accepted { Ok(()) } else { Err(Invalid::Type) }
    }

    fn read(&self, said: &mut Map<String, Value>, message: &str, times: Times) -> Result<Claims, Invalid> {
        let iss = required(said, "iss")?;
        if iss != self.issuer {
            return Err(Invalid::Unexpected("iss"));
        }
        let aud = self.audience(said)?;
        let exp = date(said, "exp")?.ok_or(Invalid::Missing("exp"))?.floor;
        let nbf = date(said, "nbf")?.map(|nbf| nbf.ceil);
        let iat = date(said, "iat")?.ok_or(Invalid::Missing("iat"))?;
        if !times.early && nbf.is_some_and(|nbf| times.is_future(nbf)) {
            return Err(Invalid::NotYet("nbf"));
        }
        if times.is_future(iat.ceil) {
            return Err(Invalid::NotYet("iat"));
        }
        let iat = iat.floor;
        let sub = identifier(said, "sub")?.ok_or(Invalid::Missing("sub"))?;
        let jti = match identifier(said, "jti")? {
            Some(jti) => jti,
            None if self.own => return Err(Invalid::Missing("jti")),
            None => format!("sha256.{}", URL_SAFE_NO_PAD.encode(Sha256::digest(message))),
        };
        let sid = identifier(said, "sid")?;
        let client_id = match identifier(said, "client_id")? {
            None if !self.own => said.get("azp").and_then(Value::as_str).map(str::to_owned),
            client => client,
        };
        if client_id.as_deref().is_some_and(|client| escape(client).is_err()) {
            return Err(Invalid::Malformed("azp"));
        }
        // Of another issuer's token it is a claim like any other: it does not know our epochs.
        let epochs = if self.own { epochs(said)? } else { None };
        Ok(Claims { iss, sub, aud, jti, iat, exp, nbf, sid, client_id, epochs, extra: std::mem::take(said) })
    }

    fn audience(&self, said: &mut Map<String, Value>) -> Result<Vec<String>, Invalid> {
        let aud = match said.remove("aud") {
            None => Vec::new(),
            Some(Value::String(one)) => vec![one],
            Some(Value::Array(many)) => {
                let text = |value| match value {
                    Value::String(text) => Ok(text),
                    _ => Err(Invalid::Malformed("aud")),
                };
                let many = many.into_iter().map(text).collect::<Result<Vec<_>, _>>()?;
                if many.is_empty() {
                    return Err(Invalid::Malformed("aud"));
                }
                many
            }
            Some(_) => return Err(Invalid::Malformed("aud")),
        };
        match &self.audience {
            Audience::OneOf(_) if aud.is_empty() => Err(Invalid::Missing("aud")),
            Audience::OneOf(expected) if !aud.iter().any(|aud| expected.contains(aud)) => {
                Err(Invalid::Unexpected("aud"))
            }
            Audience::Unnamed if !aud.is_empty() => Err(Invalid::Unexpected("aud")),
            _ => Ok(aud),
        }
    }
}

fn required(said: &mut Map<String, Value>, name: &'static str) -> Result<String, Invalid> {
    match said.remove(name) {
        None => Err(Invalid::Missing(name)),
        Some(Value::String(text)) => Ok(text),
        Some(_) => Err(Invalid::Malformed(name)),
    }
}

/// A claim that revocations go by: what no store takes would be checked by none.
fn identifier(said: &mut Map<String, Value>, name: &'static str) -> Result<Option<String>, Invalid> {
    match said.remove(name) {
        None => Ok(None),
        Some(Value::String(text)) if escape(text.as_str()).is_ok() => Ok(Some(text)),
        Some(_) => Err(Invalid::Malformed(name)),
    }
}

fn date(said: &mut Map<String, Value>, name: &'static str) -> Result<Option<Date>, Invalid> {
    said.remove(name).map(|value| Date::of(&value, name)).transpose()
}

fn epochs(said: &mut Map<String, Value>) -> Result<Option<[Epoch; 4]>, Invalid> {
    let read = |value| serde_json::from_value(value).map_err(|_| Invalid::Malformed("epochs"));
    said.remove("epochs").map(read).transpose()
}
