//! Writing tokens: the form, and the signature.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::{Map, Value};

use super::claims::Claims;
use super::compact::MAX_JWT;
use super::crypto;
use super::expect::Audience;
use super::settings::Jwt;
use crate::error::{Error, ErrorKind, Result};

/// In the order in which tokens have it.
#[derive(Serialize)]
struct Header<'a> {
    typ: &'a str,
    alg: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<&'a str>,
}

impl Jwt {
    /// Whom a token is for that is issued for these: the service itself if nobody is named.
    pub(in crate::token) fn audience(&self, named: Vec<String>) -> Vec<String> {
        match &self.own.audience {
            Audience::OneOf(own) if named.is_empty() => own.clone(),
            _ => named,
        }
    }

    /// The token that says this, signed with the first key.
    pub(in crate::token) fn write(&self, claims: &Claims) -> Result<String> {
        let (key, signing) = self.signing_key()?;
        let header = Header {
            typ: self.own.types.first().map_or("JWT", String::as_str),
            alg: key.algorithm.name(),
            kid: key.id.as_deref(),
        };
        let payload = encoded(claims)?;
        let message =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(encoded(&header)?), URL_SAFE_NO_PAD.encode(&payload));
        let signature = crypto::sign(key.algorithm, signing, message.as_bytes())?;
        let token = format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature));
        // What every verifier would refuse is not issued.
        if token.len() > MAX_JWT {
            return Err(Error::invalid(format!("a token may have {MAX_JWT} bytes, got {}", token.len())));
        }
        if serde_json::from_slice::<Map<String, Value>>(&payload).is_err() {
            return Err(unwritable());
        }
        Ok(token)
    }
}

fn encoded(part: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(part).map_err(|_| unwritable())
}

fn unwritable() -> Error {
    Error::new(ErrorKind::Codec, "the claims can't be read back as JSON").with_operation("token.issue")
}
