//! Issuing tokens: what they are revoked by is read first, and signed last.

use std::fmt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Claims, Epoch, LogInAttempt, Scope, Tokens};
use crate::error::{Error, ErrorKind, Result};

/// What a token is issued with. To issue it within a session, use
/// [`Sessions::issue`](crate::session::Sessions::issue).
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct IssueOptions {
    /// The client application it is for.
    pub client: Option<String>,
    /// Whom it is for; the audiences of [`TokensBuilder::audience`](super::TokensBuilder::audience) if empty.
    pub audience: Vec<String>,
    /// How long it lives; the longest life if not set, and never more than that.
    pub life: Option<Duration>,
    /// Further claims.
    pub extra: Map<String, Value>,
}

impl IssueOptions {
    /// A token of the longest life without client or further claims.
    pub fn new() -> Self {
        Self::default()
    }

    /// For this client application.
    #[must_use]
    pub fn client(mut self, client: impl Into<String>) -> Self {
        self.client = Some(client.into());
        self
    }

    /// For this audience, and those of earlier calls.
    #[must_use]
    pub fn audience(mut self, audience: impl Into<String>) -> Self {
        self.audience.push(audience.into());
        self
    }

    /// With this life.
    #[must_use]
    pub fn life(mut self, life: Duration) -> Self {
        self.life = Some(life);
        self
    }

    /// With a further claim. The names of [`Claims`] are taken.
    #[must_use]
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.extra.insert(name.into(), value.into());
        self
    }
}

/// A token that was just issued. `Debug` hides the token itself.
#[derive(Clone)]
#[non_exhaustive]
pub struct IssuedToken {
    /// The signed token, for the client.
    pub token: String,
    /// What it says.
    pub claims: Claims,
}

impl fmt::Debug for IssuedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("IssuedToken").field("claims", &self.claims).finish_non_exhaustive()
    }
}

/// What came of issuing a token, or a [pair](super::IssuedPair), within something that may have ended meanwhile.
#[derive(Debug, Clone)]
#[non_exhaustive]
#[must_use = "there may be no token"]
pub enum IssueOutcome<T = IssuedToken> {
    /// Here it is.
    Issued(T),
    /// There is no such session, or no longer.
    Gone,
    /// Since the log-in began, the user's sessions were all ended or the user's tokens were revoked, or it took too long: log in
    /// again.
    Stale,
}

impl<T> IssueOutcome<T> {
    /// The token or the pair, if there is one.
    pub fn issued(self) -> Option<T> {
        match self {
            Self::Issued(token) => Some(token),
            Self::Gone | Self::Stale => None,
        }
    }
}

/// A token that is not signed yet, with the epochs of its scopes: whatever is revoked from now on revokes it.
#[derive(Debug)]
pub(crate) struct Draft(pub(super) Claims);

impl Draft {
    /// For this long at most, rounded up to a whole second.
    pub(crate) fn at_most(&mut self, life: Duration) {
        let seconds = life.as_secs() + u64::from(life.subsec_nanos() > 0);
        self.0.exp = self.0.exp.min(self.0.iat.saturating_add(seconds.max(1)));
    }
}

impl Tokens {
    /// Issues a token for a user, signed with the first key, that belongs to no session: within one it is
    /// [`Sessions::issue`](crate::session::Sessions::issue), which looks whether the session is alive; at the end of
    /// a log-in [`issue_for`](Self::issue_for).
    ///
    /// The epochs of its scopes are read first, in one round trip, so that whatever is revoked from then on
    /// revokes it too.
    ///
    /// # Errors
    /// `Config` without a signing key; `InvalidInput` for a life under a second or over the longest, a claim whose
    /// name is taken, or a token over [`MAX_JWT`](super::MAX_JWT); `Codec` for claims that are nested more deeply than readers take; and
    /// those of [every method](Tokens#errors), since the epochs are read.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn issue(&self, user: &str, options: IssueOptions) -> Result<IssuedToken> {
        let draft = self.draft(user, None, options).await?;
        self.sign(draft).await
    }

    /// Issues a token to the user of a log-in that [began](Self::begin) before the password was checked; `Stale` if the user's
    /// tokens were revoked meanwhile.
    ///
    /// # Errors
    /// As [`issue`](Self::issue), and `InvalidInput` for an attempt at another service.
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn issue_for(&self, attempt: &LogInAttempt, options: IssueOptions) -> Result<IssueOutcome> {
        // What is revoked from here on revokes the token, and what was before is seen after.
        let draft = self.draft(attempt.user(), None, options).await?;
        if self.is_stale(attempt).await? {
            return Ok(IssueOutcome::Stale);
        }
        self.sign(draft).await.map(IssueOutcome::Issued)
    }

    /// A token to be signed, with this `sid`. Its life begins before its epochs are read, so that it is over before a revocation
    /// that they don't know of is.
    pub(crate) async fn draft(
        &self,
        user: &str,
        sid: Option<String>,
        options: IssueOptions,
    ) -> Result<Draft> {
        self.0.jwt.signing_key()?;
        self.agree_to_issue().await?;
        let mut claims = self.claims(user, sid, options)?;
        claims.epochs = Some(self.epochs_of(&claims.scopes()).await?);
        Ok(Draft(claims))
    }

    /// What a token will say but for its epochs.
    pub(super) fn claims(&self, user: &str, sid: Option<String>, options: IssueOptions) -> Result<Claims> {
        let inner = &*self.0;
        if let Some(name) = Claims::RESERVED.iter().find(|name| options.extra.contains_key(**name)) {
            return Err(Error::invalid(format!("the claim {name} is set by the library")));
        }
        let longest = self.longest_issued();
        let life = options.life.unwrap_or(longest);
        if life > longest || life < Duration::from_secs(1) {
            return Err(Error::invalid(
                "a token lives between one second and the longest life of its service",
            ));
        }
        let mut jti = [0; 16];
        inner.environment.random.fill(&mut jti)?;
        let now = inner.environment.clock.wall().as_secs();
        Ok(Claims {
            iss: inner.jwt.issuer().to_owned(),
            sub: user.to_owned(),
            aud: inner.jwt.audience(options.audience),
            jti: URL_SAFE_NO_PAD.encode(jti),
            iat: now,
            exp: now.saturating_add(life.as_secs()),
            nbf: None,
            sid,
            client_id: options.client,
            epochs: None,
            extra: options.extra,
        })
    }

    pub(crate) async fn sign(&self, draft: Draft) -> Result<IssuedToken> {
        let token = self.write(draft)?;
        self.announce(&token).await;
        Ok(token)
    }

    /// The signed token. Once it is issued for good, [`announce`](Self::announce) it.
    pub(super) fn write(&self, draft: Draft) -> Result<IssuedToken> {
        let token = self.0.jwt.write(&draft.0)?;
        Ok(IssuedToken { token, claims: draft.0 })
    }

    /// Counts and publishes a token that is issued.
    pub(super) async fn announce(&self, issued: &IssuedToken) {
        self.0.telemetry.issued();
        if let Some(topics) = &self.0.topics {
            topics.issued(&issued.claims.sub, &issued.claims.jti).await;
        }
    }

    async fn epochs_of(&self, scopes: &[Option<Scope>; 4]) -> Result<[Epoch; 4]> {
        let asked: Vec<_> = scopes.iter().flatten().cloned().collect();
        let answers = self.0.store.epochs(&self.0.service, &asked).await?;
        let mut answers = self.with_floor(answers).await?.into_iter();
        let mut epochs = [Epoch::NEVER; 4];
        for (epoch, _) in epochs.iter_mut().zip(scopes).filter(|(_, scope)| scope.is_some()) {
            *epoch = answers.next().ok_or_else(|| {
                Error::new(ErrorKind::Internal, "the store answered too few epochs")
                    .with_operation("token.epochs")
            })?;
        }
        Ok(epochs)
    }
}
