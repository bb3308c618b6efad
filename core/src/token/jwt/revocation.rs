//! What a revocation endpoint does (RFC 7009).

use super::verify::Asker;
use super::{Claims, VerifyError};
use crate::error::Result;
use crate::token::{EndedFamily, RefreshToken, Tokens};

/// What a revocation endpoint has done with a token.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Revocation {
    /// It was an access token, which is revoked now.
    Access(Claims),
    /// It was a refresh token: its family has ended, and the access tokens of its session, or of the family, are revoked.
    Refresh(EndedFamily),
    /// It held no more, or is no token of this service. That is no error (RFC 7009, 2.2): there is nothing left to revoke.
    Nothing,
    /// It is an access token of another client than the one that asks, and still holds: refuse the request.
    OtherClient,
}

impl Tokens {
    /// Revokes a token that a client gives back, as a revocation endpoint does it (RFC 7009), whatever kind it is of: no
    /// `token_type_hint` is needed. The service knows by then which client asks, and answers with status 200 and no body
    /// unless it is [`OtherClient`](Revocation::OtherClient), which is refused with 400.
    ///
    /// `client` is who asks; `None` for a service without clients. A refresh token is ended by whoever has it: it is the proof.
    ///
    /// # Errors
    /// Where it could not be checked or revoked, and may still hold: answer with a status of 503, upon which the client tries again. Where
    /// the error came while a family of refresh tokens was ended, that may have ended, and its access tokens hold until they expire: then a second try
    /// finds nothing, and [`revoke_user`](Self::revoke_user) or the end of the session ends them.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the token either revoked or not.
    pub async fn revoke_presented(&self, token: &str, client: Option<&str>) -> Result<Revocation> {
        if self.0.refreshing.is_some() && RefreshToken::parse(token).is_some() {
            return match self.end_refresh(token).await? {
                None => Ok(Revocation::Nothing),
                Some(EndedFamily { unrevoked: Some(error), .. }) => Err(error),
                Some(ended) => Ok(Revocation::Refresh(ended)),
            };
        }
        let verified = self.accept_for(token, Asker::Revoker).await;
        self.0.telemetry.verified(&verified);
        let claims = match verified {
            Ok(claims) => claims,
            Err(VerifyError::Unchecked(error)) => return Err(error),
            Err(VerifyError::Invalid(_) | VerifyError::Expired | VerifyError::Revoked(_)) => {
                return Ok(Revocation::Nothing);
            }
        };
        if client.is_some() && client != claims.client_id.as_deref() {
            return Ok(Revocation::OtherClient);
        }
        self.revoke(&claims.jti, claims.expires_at()).await?;
        if let Some(topics) = &self.0.topics {
            topics.revoked(&claims.sub, Some(&claims.jti)).await;
        }
        Ok(Revocation::Access(claims))
    }
}
