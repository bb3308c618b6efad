//! What is stored with a family: what its tokens say.

use std::time::Duration;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};
use crate::session::SessionId;
use crate::token::{Claims, Epoch, FamilyId, Mark, Scope, TokenFacts};

/// What every access token of a family says, as JSON of version 1.
///
/// The epochs are those of the log-in: whatever of its scopes is revoked after that ends the family and every token it has ever
/// given, whenever they were given.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Grant {
    v: u8,
    pub(super) sub: String,
    pub(super) aud: Vec<String>,
    pub(super) sid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) client_id: Option<String>,
    pub(super) epochs: [Epoch; 4],
    /// How long an access token lives, in seconds.
    pub(super) life: u64,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub(super) extra: Map<String, Value>,
}

const VERSION: u8 = 1;

impl Grant {
    /// Of the first access token.
    pub(super) fn of(claims: &Claims, sid: String) -> Result<Self> {
        let epochs = claims.epochs.ok_or_else(|| unreadable("written"))?;
        Ok(Self {
            v: VERSION,
            sub: claims.sub.clone(),
            aud: claims.aud.clone(),
            sid,
            client_id: claims.client_id.clone(),
            epochs,
            life: claims.exp - claims.iat,
            extra: claims.extra.clone(),
        })
    }

    /// The session that it belongs to.
    pub(super) fn session(&self) -> Option<SessionId> {
        self.sid.parse().ok()
    }

    /// What belongs to no session is its family's, so that it can be revoked with it: a name that is no [`SessionId`].
    pub(super) fn sid(session: Option<&SessionId>, family: &FamilyId) -> String {
        session.map_or_else(|| format!("refresh.{family}"), ToString::to_string)
    }

    pub(super) fn encode(&self) -> Result<Bytes> {
        serde_json::to_vec(self).map(Bytes::from).map_err(|_| unreadable("written"))
    }

    pub(super) fn decode(data: &[u8]) -> Result<Self> {
        match serde_json::from_slice::<Self>(data) {
            Ok(grant) if grant.v == VERSION => Ok(grant),
            _ => Err(unreadable("read")),
        }
    }

    pub(super) fn life(&self) -> Duration {
        Duration::from_secs(self.life)
    }

    /// By what its revocation is checked.
    pub(super) fn facts(&self, family: &FamilyId) -> TokenFacts {
        let scopes = [
            Some(Scope::Service),
            Some(Scope::User(self.sub.clone())),
            Some(Scope::Session(self.sid.clone())),
            self.client_id.clone().map(Scope::Client),
        ];
        let marks = scopes.into_iter().zip(self.epochs);
        let marks = marks.filter_map(|(scope, epoch)| Some((scope?, Mark::Epoch(epoch))));
        TokenFacts::new(format!("refresh.{family}"), marks.collect())
    }
}

fn unreadable(how: &str) -> Error {
    Error::new(ErrorKind::Codec, format!("what is stored of a family of refresh tokens can't be {how}"))
}
