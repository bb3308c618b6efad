//! What a token says.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::session::SessionId;
use crate::time::Timestamp;
use crate::token::{Epoch, Mark, Scope, TokenFacts};

/// What a token says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Claims {
    /// Who issued it. Where [other issuers](crate::token::Issuer) are accepted, a user is this and `sub` together: look at both.
    pub iss: String,
    /// The user.
    pub sub: String,
    /// Whom it is for; empty if it does not say.
    #[serde(default, skip_serializing_if = "Vec::is_empty", with = "audience")]
    pub aud: Vec<String>,
    /// The token's own id. If another issuer has given it none: `sha256.` and a hash of what was signed.
    pub jti: String,
    /// When it was issued, in seconds since 1970, by the issuer's clock; a fraction is rounded down.
    pub iat: u64,
    /// When it expires, in seconds since 1970, by the issuer's clock; a fraction is rounded down.
    pub exp: u64,
    /// From when on it holds, in seconds since 1970, by the issuer's clock; a fraction is rounded up.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nbf: Option<u64>,
    /// The session it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
    /// The client application it is for; of another issuer's token also `azp`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// The epochs of its scopes when it was issued: service, user, session, client. Absent in a token that
    /// something else issued; then `iat` is what is compared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub epochs: Option<[Epoch; 4]>,
    /// Further claims.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl Claims {
    /// The claims that this library sets.
    pub(in crate::token) const RESERVED: [&str; 10] =
        ["iss", "sub", "aud", "jti", "iat", "exp", "nbf", "sid", "client_id", "epochs"];

    /// When it expires, for [`Tokens::revoke`](crate::token::Tokens::revoke).
    pub fn expires_at(&self) -> Timestamp {
        Timestamp::from_secs(self.exp)
    }

    /// The session it belongs to, for [`Sessions::destroy_id`](crate::session::Sessions::destroy_id): `None` if it
    /// has none, or something else issued it and puts other names there.
    pub fn session_id(&self) -> Option<SessionId> {
        self.sid.as_deref()?.parse().ok()
    }

    /// The scopes it belongs to, in the order of `epochs`; a scope it has no part in is `None`.
    pub(in crate::token) fn scopes(&self) -> [Option<Scope>; 4] {
        [
            Some(Scope::Service),
            Some(Scope::User(self.sub.clone())),
            self.sid.clone().map(Scope::Session),
            self.client_id.clone().map(Scope::Client),
        ]
    }

    /// What its revocation is checked by, for [`Tokens::check`](crate::token::Tokens::check) of claims that something else has
    /// verified.
    pub fn facts(&self) -> TokenFacts {
        let issued = Mark::IssuedAt(Timestamp::from_secs(self.iat));
        let marks = self.scopes().into_iter().enumerate().filter_map(|(index, scope)| {
            let mark = self.epochs.map_or(issued, |epochs| Mark::Epoch(epochs[index]));
            Some((scope?, mark))
        });
        TokenFacts::new(self.jti.as_str(), marks.collect())
    }
}

/// `aud` is one text or a list of them (RFC 7519, 4.1.3).
mod audience {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    #[serde(untagged)]
    enum Form {
        One(String),
        Many(Vec<String>),
    }

    pub(super) fn serialize<S: Serializer>(audience: &Vec<String>, serializer: S) -> Result<S::Ok, S::Error> {
        match audience.as_slice() {
            [one] => one.serialize(serializer),
            many => many.serialize(serializer),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
        Ok(match Form::deserialize(deserializer)? {
            Form::One(one) => vec![one],
            Form::Many(many) => many,
        })
    }
}
