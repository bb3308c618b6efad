//! The steps of issuing a pair and of using a refresh token. Between them [`Sessions`](crate::session::Sessions) find the session alive.

use std::time::Duration;

use super::grant::Grant;
use super::outcome::{EndedFamily, IssuedPair, Refreshed};
use super::secret::RefreshToken;
use crate::error::{Effect, Error, ErrorKind, Result};
use crate::session::SessionId;
use crate::time::Ttl;
use crate::token::issue::Draft;
use crate::token::{
    Claims, FamilyId, IssueOptions, NewFamily, RotateOutcome, Rotation, Salt, Scope, Tokens, Verdict,
};

/// A family that is to be opened, with the epochs of its scopes: whatever is revoked from now on revokes it.
#[derive(Debug)]
pub(crate) struct PairDraft {
    access: Draft,
    refresh: RefreshToken,
    new: NewFamily,
    at_most: Option<Duration>,
}

impl PairDraft {
    /// For this long at most, unless its session is used again.
    pub(crate) fn at_most(&mut self, life: Duration) {
        self.access.at_most(life);
        self.at_most = Some(life);
    }
}

/// What is to follow from the use of a refresh token.
#[derive(Debug)]
pub(crate) enum Turn {
    /// This is all.
    Over(Refreshed),
    /// It was rotated, and nothing of its family is revoked: tokens may be made.
    Goes(Rotated),
}

/// A refresh token that was rotated, once or again.
#[derive(Debug)]
pub(crate) struct Rotated {
    family: FamilyId,
    grant: Grant,
    successor: RefreshToken,
    left: Ttl,
    first: bool,
}

impl Rotated {
    /// The session that it belongs to, and its user.
    pub(crate) fn session(&self) -> Option<(SessionId, &str)> {
        Some((self.grant.session()?, &self.grant.sub))
    }
}

impl Tokens {
    /// A pair to be issued, within this session or none.
    pub(crate) async fn draft_pair(
        &self,
        user: &str,
        session: Option<&SessionId>,
        options: IssueOptions,
    ) -> Result<PairDraft> {
        let policy = self.refreshing()?.policy;
        self.families()?;
        let refresh = RefreshToken::generate(&*self.0.environment.random)?;
        let family = refresh.family();
        let sid = Grant::sid(session, &family);
        // Before anything is signed or stored: whatever is revoked from now on revokes all of it.
        let access = self.draft(user, Some(sid.clone()), options).await?;
        let data = Grant::of(&access.0, sid)?.encode()?;
        let new = NewFamily::new(family, refresh.hash(), data, policy.idle, policy.absolute);
        new.check()?;
        Ok(PairDraft { access, refresh, new, at_most: None })
    }

    /// Opens the family, and signs.
    pub(crate) async fn open_pair(&self, draft: PairDraft) -> Result<IssuedPair> {
        let PairDraft { access, refresh, new, at_most } = draft;
        // What can't be signed opens no family.
        let access = self.write(access)?;
        if !self.families()?.open_family(&self.0.service, &new).await? {
            // Of 2^128: the random source repeats itself.
            let message = "the random source has given a family of refresh tokens that there is already";
            return Err(Error::new(ErrorKind::Internal, message).with_operation("token.open_family"));
        }
        self.announce(&access).await;
        let left = new.idle.min(new.absolute);
        Ok(IssuedPair { access, refresh, refresh_expires_in: lesser(left, at_most) })
    }

    /// Uses up a refresh token, and looks whether its family is revoked.
    pub(crate) async fn turn(&self, token: &RefreshToken) -> Result<Turn> {
        let (inner, policy) = (&*self.0, self.refreshing()?.policy);
        self.agree_to_issue().await?;
        let mut salt = [0; 32];
        inner.environment.random.fill(&mut salt)?;
        let salt = Salt::new(salt);
        let (id, successor) = (token.family(), token.successor(&salt));
        let rotation = Rotation::new(id, token.hash(), successor.hash(), salt, policy.grace, policy.idle);
        let families = self.families()?;
        let outcome = match families.rotate(&inner.service, &rotation).await {
            // A second call with the same salt is answered as the first was.
            Err(error) if error.effect() == Effect::Unknown && error.is_retryable(true) => {
                families.rotate(&inner.service, &rotation).await
            }
            outcome => outcome,
        }?;
        let (data, successor, left, first) = match outcome {
            RotateOutcome::Gone => return Ok(Turn::Over(Refreshed::Gone)),
            RotateOutcome::Reused { data } => {
                return self.reused(id, &data).await.map(|ended| Turn::Over(Refreshed::Reused(ended)));
            }
            RotateOutcome::Rotated { data, left } => (data, successor, left, true),
            RotateOutcome::Repeated { data, salt, left } => (data, token.successor(&salt), left, false),
        };
        let grant = Grant::decode(&data)?;
        if let Verdict::Revoked(reason) = self.verdict(&grant.facts(&id)).await? {
            self.forget(id).await;
            return Ok(Turn::Over(Refreshed::Revoked(reason)));
        }
        Ok(Turn::Goes(Rotated { family: id, grant, successor, left, first }))
    }

    /// Makes the tokens, for this long at most.
    pub(crate) async fn complete(&self, rotated: Rotated, at_most: Option<Duration>) -> Result<Refreshed> {
        let Rotated { grant, successor, left, first, .. } = rotated;
        let mut draft = Draft(self.claims_of(grant)?);
        if let Some(life) = at_most {
            draft.at_most(life);
        }
        let access = self.sign(draft).await?;
        let pair = IssuedPair { access, refresh: successor, refresh_expires_in: lesser(left, at_most) };
        Ok(if first { Refreshed::Rotated(pair) } else { Refreshed::Repeated(pair) })
    }

    /// What was rotated belongs to a session that has ended.
    pub(crate) async fn discard(&self, rotated: Rotated) -> Refreshed {
        self.forget(rotated.family).await;
        Refreshed::Gone
    }

    /// The family gives no tokens any more, whether it is there or not.
    async fn forget(&self, family: FamilyId) {
        let ended = match self.families() {
            Ok(families) => families.end_family(&self.0.service, &family).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = ended {
            tracing::debug!(%error, "a revoked family of refresh tokens is still there");
        }
    }

    /// The next access token of a family.
    fn claims_of(&self, grant: Grant) -> Result<Claims> {
        // A build with a shorter longest life shortens those of families that are there.
        let life = grant.life().min(self.longest_issued());
        let mut options = IssueOptions::new().life(life);
        options.client = grant.client_id;
        options.audience = grant.aud;
        options.extra = grant.extra;
        let mut claims = self.claims(&grant.sub, Some(grant.sid), options)?;
        claims.epochs = Some(grant.epochs);
        Ok(claims)
    }

    /// The family has ended; here is what follows.
    async fn reused(&self, id: FamilyId, data: &[u8]) -> Result<EndedFamily> {
        let family = id.to_string();
        tracing::warn!(service = %self.0.service, family, "a refresh token was used twice: its family has ended");
        let grant = Grant::decode(data)?;
        let unrevoked = self.revoke_all_of(&grant).await.err();
        if let Some(topics) = &self.0.topics {
            topics.reused(&grant.sub, family).await;
        }
        Ok(ended(id, grant, unrevoked))
    }

    /// Revokes the access tokens of a family that has ended.
    pub(super) async fn revoke_all_of(&self, grant: &Grant) -> Result<()> {
        let scope = Scope::Session(grant.sid.clone());
        let revoked = match self.revoke_scope(&scope).await {
            Err(error) if error.is_retryable(true) => self.revoke_scope(&scope).await,
            outcome => outcome,
        };
        if let Err(error) = &revoked {
            tracing::warn!(%error, "the access tokens of a family that was ended could not be revoked");
        }
        revoked.map(drop)
    }
}

fn lesser(left: Ttl, at_most: Option<Duration>) -> Duration {
    at_most.map_or(left.as_duration(), |most| most.min(left.as_duration()))
}

pub(super) fn ended(family: FamilyId, grant: Grant, unrevoked: Option<Error>) -> EndedFamily {
    EndedFamily { family, session: grant.session(), user: grant.sub, unrevoked }
}
