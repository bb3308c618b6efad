//! What an introspection endpoint answers (RFC 7662).

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use serde_json::Value;

use super::verify::Asker;
use super::{Claims, VerifyError};
use crate::error::Result;
use crate::token::Tokens;

/// The body of an introspection response (RFC 7662, 2.2): serialized as JSON it is what the endpoint answers, with status 200.
///
/// Of a token that does not hold nothing is said but that, whatever is wrong with it. The endpoint has to know who asks
/// (RFC 7662, 2.1): who may ask of whose tokens is for the service to decide.
#[derive(Debug, Clone, PartialEq)]
pub struct Introspection(Option<Claims>);

impl Introspection {
    /// Whether the token holds.
    pub fn is_active(&self) -> bool {
        self.0.is_some()
    }

    /// What it says, if it holds.
    pub fn claims(&self) -> Option<&Claims> {
        self.0.as_ref()
    }
}

impl Serialize for Introspection {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("active", &self.is_active())?;
        if let Some(claims) = &self.0 {
            map.serialize_entry("token_type", "Bearer")?;
            let claims = serde_json::to_value(claims).map_err(serde::ser::Error::custom)?;
            // The epochs concern nobody else, and no claim takes the place of what the response itself says.
            let own = ["active", "token_type", "epochs"];
            for (name, value) in claims.as_object().into_iter().flatten() {
                if !own.contains(&name.as_str()) && *value != Value::Null {
                    map.serialize_entry(name, value)?;
                }
            }
        }
        map.end()
    }
}

impl Tokens {
    /// Whether an access token holds, as an introspection endpoint answers it: as [`verify`](Self::verify), of this service's tokens,
    /// whomever they are for, and of those of the issuers that it [accepts](crate::token::TokensBuilder::accepting). Whatever is no such token, a refresh
    /// token too, is not active.
    ///
    /// # Errors
    /// Where it could not be checked: answer with a status of 503, and not that it is inactive.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn introspect(&self, token: &str) -> Result<Introspection> {
        let verified = self.accept_for(token, Asker::Endpoint).await;
        self.0.telemetry.verified(&verified);
        match verified {
            Ok(claims) => Ok(Introspection(Some(claims))),
            Err(VerifyError::Unchecked(error)) => Err(error),
            Err(VerifyError::Invalid(_) | VerifyError::Expired | VerifyError::Revoked(_)) => {
                Ok(Introspection(None))
            }
        }
    }
}
