//! Wrong token stores.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stanchion::changes::ChangeFeed;
use stanchion::key::Name;
use stanchion::time::{Monotonic, Timestamp, Ttl};
use stanchion::token::{
    Epoch, FirstUses, Mark, Reason, RefreshFamilies, Scope, TokenCapabilities, TokenFacts, TokenSettings,
    TokenStore, Verdict,
};
use stanchion::{Error, ErrorKind, Result};
use tokio::task::yield_now;

use crate::backend::{self, Around, locked};
use crate::proof::{Proof, must_fail};
use crate::{revocations, single_use};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// The list of revoked tokens is in the process.
    RevokedInTheProcess,
    /// A revocation without expiry.
    RevokedForEver,
    /// An epoch without expiry.
    EpochLastsForEver,
    /// `SET PX`, whatever life the key has.
    LastRevocationSetsTheLife,
    /// Epochs are made of the clock of the process; the second one's is a second behind.
    EpochOfTheProcessClock,
    /// The epoch is read, and the next one written.
    EpochIsReadAndWritten,
    /// The epochs are kept in the process after the first check.
    EpochsAreReadOnce,
    /// One epoch a token: the newest mark is compared with the newest epoch.
    NewestMarkCounts,
    /// The kind of the scope is not in its key.
    ScopeKindIsForgotten,
    /// The service is not in the key.
    ServiceIsForgotten,
    /// What is over the bound is not looked at.
    MarksOverTheBoundAreDropped,
    /// Epochs are counted from 1.
    EpochIsACounter,
    /// A token of the very second of the revocation counts as issued after it.
    IssuedAtIsComparedExactly,
    /// `MGET` without keys is an error of the server.
    NoScopesAreSent,
    /// An epoch that is ahead of the clock is taken for spoilt.
    EpochAheadIsSpoilt,
    /// Who comes last sets the longest life.
    LastSettingsAreRecorded,
    /// The settings last as long as a token.
    SettingsExpire,
    /// The settings are read, and written if there are none.
    SettingsAreReadAndWritten,
    /// Whoever wants to change the longest life may.
    AnyLifeIsReplaced,
    /// The issuer is recorded with the life, or never.
    LaterIssuersAreForgotten,
    /// The life of refresh tokens is recorded once, as the other settings.
    FirstFamilyLifeStays,
    /// Each call sets the floor anew.
    FloorIsRaised,
    /// The floor expires as any epoch.
    FloorExpires,
    /// Whether a token is checked for the floor is forgotten.
    FloorIsNotLookedAt,
    /// Revocations of a session's tokens are answered, and lost.
    SessionRevocationsAreLost,
    /// Ends of log-ins are answered, and lost.
    EndsOfLogInsAreLost,
    /// What is done with names that are used once, and with families; see [`single_use`].
    SingleUse(single_use::Bug),
    /// What is done with watches of revocations; see [`revocations`].
    Feed(revocations::Bug),
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Token(bug), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof(
        "TOKEN-01",
        Bug::RevokedInTheProcess,
        "revoke::is_seen_by_every_handle",
        "a revoked token: Revoked(Token)\nobserved: Active",
    ),
    proof(
        "TOKEN-02",
        Bug::RevokedForEver,
        "revoke::ends_with_its_ttl",
        "a token after its revocation's TTL: Active",
    )
    .also(&["TOKEN-17"]),
    proof(
        "TOKEN-02",
        Bug::EpochLastsForEver,
        "revoke::ends_with_its_ttl",
        "the epoch after its revocation's TTL: [Epoch(0)]",
    )
    .also(&["TOKEN-17"]),
    proof(
        "TOKEN-03",
        Bug::LastRevocationSetsTheLife,
        "revoke::never_shortens",
        "a token revoked for long, then for short",
    ),
    proof(
        "TOKEN-04",
        Bug::EpochOfTheProcessClock,
        "epoch::only_grows",
        "each revocation makes the epoch greater",
    ),
    proof(
        "TOKEN-04",
        Bug::EpochIsReadAndWritten,
        "epoch::race_makes_distinct_epochs",
        "distinct epochs of 20 concurrent revocations: 20\nobserved: 1",
    ),
    proof(
        "TOKEN-05",
        Bug::EpochsAreReadOnce,
        "check::before_and_after_a_revocation",
        "a token from before: Revoked(Scope(User(\"u1\")))\nobserved: Active",
    )
    .also(&["TOKEN-16"]),
    proof("TOKEN-06", Bug::NewestMarkCounts, "check::each_scope_counts", "a token stale in one scope"),
    proof("TOKEN-07", Bug::ScopeKindIsForgotten, "epoch::scopes_stay_apart", "epochs of other scopes"),
    proof("TOKEN-08", Bug::ServiceIsForgotten, "isolation::services", "the same token at another service")
        // Settings and floors are a service's.
        .also(&["TOKEN-18", "TOKEN-19", "TOKEN-21"]),
    proof(
        "TOKEN-09",
        Bug::MarksOverTheBoundAreDropped,
        "input::bad_arguments_are_refused",
        "checking nine marks: refused as invalid input",
    ),
    must_fail(
        "TOKEN-10",
        backend::Bug::PrefixForgotten,
        "isolation::places",
        "a token revoked elsewhere: Active",
    )
    .also(&["TOKEN-18"]),
    proof("TOKEN-11", Bug::EpochIsACounter, "epoch::is_a_time", "not less than the time in microseconds")
        // Times can't be compared with it, and a floor is one.
        .also(&["TOKEN-12", "TOKEN-20"]),
    proof(
        "TOKEN-12",
        Bug::IssuedAtIsComparedExactly,
        "check::issued_at_fails_closed",
        "a token issued in the second of the revocation",
    ),
    proof(
        "TOKEN-12",
        Bug::IssuedAtIsComparedExactly,
        "check::skew_of_the_token",
        "issued 0 s after, with a skew of 0 s",
    )
    .part("skew"),
    proof(
        "TOKEN-18",
        Bug::LastSettingsAreRecorded,
        "settings::first_is_recorded",
        "what is answered to who differs",
    )
    // It is changed by who names nothing.
    .also(&["TOKEN-19"]),
    proof("TOKEN-18", Bug::SettingsExpire, "settings::do_not_expire", "the recorded settings, later"),
    proof(
        "TOKEN-18",
        Bug::SettingsAreReadAndWritten,
        "settings::race_records_one",
        "answers other than what is recorded",
    ),
    proof(
        "TOKEN-19",
        Bug::LaterIssuersAreForgotten,
        "settings::issuer_comes_later",
        "the first issuer: Some(\"me\")\nobserved: None",
    ),
    proof(
        "TOKEN-19",
        Bug::AnyLifeIsReplaced,
        "settings::change_on_purpose",
        "changed from what is not recorded",
    ),
    proof(
        "TOKEN-22",
        Bug::FirstFamilyLifeStays,
        "settings::family_life_grows",
        "a longer one: TokenSettings",
    ),
    proof("TOKEN-20", Bug::FloorIsRaised, "floor::is_set_once", "other floors of one service")
        // The one that is revoked is no longer the one that is there.
        .also(&["TOKEN-21"]),
    proof(
        "TOKEN-20",
        Bug::FloorIsNotLookedAt,
        "floor::is_set_once",
        "a token where there is no floor: Revoked(Lost)\nobserved: Active",
    ),
    proof(
        "TOKEN-21",
        Bug::FloorExpires,
        "floor::does_not_expire",
        "the floor of an epoch that would have expired",
    ),
    proof(
        "STORES-04",
        Bug::SessionRevocationsAreLost,
        "ends::nothing_outlives_its_session",
        "a token whose session has ended is accepted, Destroyed: false\nobserved: true",
    ),
    proof("STORES-06", Bug::EndsOfLogInsAreLost, "ends::begun_log_in_is_stale", "the log-in is stale"),
    proof("TOKEN-16", Bug::EpochAheadIsSpoilt, "wall_clock::epochs_only_grow", "the epoch, Back"),
    proof("TOKEN-13", Bug::NoScopesAreSent, "epoch::of_no_scope", "wrong number of arguments"),
];

#[derive(Debug)]
pub(crate) struct Wrong {
    pub(crate) bug: Bug,
    pub(crate) right: Arc<dyn TokenStore>,
    pub(crate) around: Around,
    pub(crate) private: Arc<dyn TokenStore>,
    pub(crate) single: single_use::Memory,
    /// How often each token was revoked by this handle.
    times: Mutex<HashMap<String, u32>>,
    epochs: Mutex<HashMap<Scope, Epoch>>,
    /// When settings were first recorded by this handle.
    agreed: Mutex<HashMap<Name, Monotonic>>,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, right: Arc<dyn TokenStore>, around: &Around) -> Result<Self> {
        let private = around.private().token_store()?;
        Ok(Self {
            bug,
            right,
            around: around.clone(),
            private,
            single: single_use::Memory::default(),
            times: Mutex::default(),
            epochs: Mutex::default(),
            agreed: Mutex::default(),
        })
    }

    pub(crate) fn service(&self, service: &Name) -> Result<Name> {
        if self.bug == Bug::ServiceIsForgotten { Name::new("any") } else { Ok(service.clone()) }
    }

    fn scope(&self, scope: &Scope) -> Scope {
        match scope {
            Scope::Session(id) | Scope::Client(id) if self.bug == Bug::ScopeKindIsForgotten => {
                Scope::User(id.clone())
            }
            scope => scope.clone(),
        }
    }

    /// Where the last revocation of a token is, which knows nothing of the ones before.
    fn last(&self, jti: &str) -> String {
        match locked(&self.times).get(jti) {
            Some(times) if *times > 1 => format!("{jti}#{times}"),
            _ => jti.to_owned(),
        }
    }

    pub(crate) fn inner_feed(&self) -> Result<&dyn ChangeFeed> {
        self.right.feed().ok_or_else(|| Error::unsupported("there is no feed"))
    }

    /// Where the numbers of a counter begin.
    fn origin(&self) -> u64 {
        // A microsecond before the manual clock's first day.
        if self.bug == Bug::EpochIsACounter { 1_749_999_999_999_999 } else { 0 }
    }

    /// With [`Bug::SettingsExpire`]: whether they were recorded longer ago than they last.
    fn have_expired(&self, service: &Name, life: Option<Ttl>) -> bool {
        let now = self.around.right.environment().clock.now();
        let since = *locked(&self.agreed).entry(service.clone()).or_insert(now);
        life.is_some_and(|life| now.saturating_since(since) >= life.as_duration())
    }

    fn wall(&self) -> Timestamp {
        self.around.right.environment().clock.wall()
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl TokenStore for Wrong {
    fn capabilities(&self) -> TokenCapabilities {
        self.right.capabilities()
    }

    fn first_uses(&self) -> Option<&dyn FirstUses> {
        Some(self)
    }

    fn families(&self) -> Option<&dyn RefreshFamilies> {
        Some(self)
    }

    /// None where the bug is another's: what is revoked elsewhere could not be notified.
    fn feed(&self) -> Option<&dyn ChangeFeed> {
        matches!(self.bug, Bug::Feed(_)).then_some(self as &dyn ChangeFeed)
    }

    async fn revoke(&self, service: &Name, jti: &str, ttl: Ttl) -> Result<()> {
        let service = &self.service(service)?;
        match self.bug {
            Bug::RevokedInTheProcess => self.private.revoke(service, jti, ttl).await,
            Bug::RevokedForEver => self.right.revoke(service, jti, Ttl::MAX).await,
            Bug::LastRevocationSetsTheLife => {
                *locked(&self.times).entry(jti.to_owned()).or_default() += 1;
                self.right.revoke(service, &self.last(jti), ttl).await
            }
            _ => self.right.revoke(service, jti, ttl).await,
        }
    }

    async fn revoke_all(&self, service: &Name, scope: &Scope, mut ttl: Ttl) -> Result<Epoch> {
        let (service, scope) = (&self.service(service)?, &self.scope(scope));
        match (self.bug, scope) {
            (Bug::SessionRevocationsAreLost, Scope::Session(_))
            | (Bug::EndsOfLogInsAreLost, Scope::LogIn(_)) => {
                return self.private.revoke_all(service, scope, ttl).await;
            }
            _ => {}
        }
        match self.bug {
            Bug::EpochLastsForEver => ttl = Ttl::MAX,
            Bug::EpochIsReadAndWritten => {
                let last = self.right.epochs(service, std::slice::from_ref(scope)).await?;
                let next = last.iter().map(|last| last.get() + 1).max().unwrap_or_default();
                let next = Epoch::new(self.wall().as_micros().max(next));
                yield_now().await;
                self.right.revoke_all(service, scope, ttl).await?;
                return Ok(next);
            }
            _ => {}
        }
        let epoch = self.right.revoke_all(service, scope, ttl).await?.get() - self.origin();
        let behind = self.bug == Bug::EpochOfTheProcessClock && self.around.number == 1;
        Ok(Epoch::new(if behind { epoch - 1_000_000 } else { epoch }))
    }

    async fn epochs(&self, service: &Name, scopes: &[Scope]) -> Result<Vec<Epoch>> {
        if self.bug == Bug::NoScopesAreSent && scopes.is_empty() {
            return Err(Error::new(ErrorKind::Internal, "wrong number of arguments"));
        }
        let scopes: Vec<_> = scopes.iter().map(|scope| self.scope(scope)).collect();
        let epochs = self.right.epochs(&self.service(service)?, &scopes).await?;
        let told = |epoch: Epoch| match self.bug {
            Bug::EpochAheadIsSpoilt => backend::spoilt_if_ahead(epoch.get(), self.wall()),
            _ => epoch.get().saturating_sub(self.origin()),
        };
        Ok(epochs.into_iter().map(told).map(Epoch::new).collect())
    }

    async fn check(&self, service: &Name, token: &TokenFacts) -> Result<Verdict> {
        let (service, mut token) = (&self.service(service)?, token.clone());
        match self.bug {
            Bug::RevokedInTheProcess => {
                self.capabilities().check_facts(&token)?;
                let only = TokenFacts::new(token.jti.clone(), Vec::new());
                if let revoked @ Verdict::Revoked(_) = self.private.check(service, &only).await? {
                    return Ok(revoked);
                }
            }
            Bug::LastRevocationSetsTheLife => {
                self.capabilities().check_facts(&token)?;
                token.jti = self.last(&token.jti);
            }
            Bug::EpochsAreReadOnce => {
                self.capabilities().check_facts(&token)?;
                let only = TokenFacts::new(token.jti.clone(), Vec::new());
                let revoked = self.right.check(service, &only).await? != Verdict::Active;
                let scopes: Vec<_> = token.marks.iter().map(|(scope, _)| scope.clone()).collect();
                let read = self.right.epochs(service, &scopes).await?;
                let mut kept = locked(&self.epochs);
                let epochs: Vec<_> = scopes
                    .into_iter()
                    .zip(read)
                    .map(|(scope, now)| *kept.entry(scope).or_insert(now))
                    .collect();
                return Ok(token.verdict(revoked, &epochs));
            }
            Bug::NewestMarkCounts => {
                let scopes: Vec<_> = token.marks.iter().map(|(scope, _)| scope.clone()).collect();
                let newest = self.right.epochs(service, &scopes).await?.into_iter().max();
                let holds = token.marks.iter().any(|(_, mark)| Some(*mark) == newest.map(Mark::Epoch));
                let verdict = self.right.check(service, &token).await?;
                let by_scope = matches!(verdict, Verdict::Revoked(Reason::Scope(_)));
                return Ok(if holds && by_scope { Verdict::Active } else { verdict });
            }
            Bug::MarksOverTheBoundAreDropped => token.marks.truncate(8),
            Bug::FloorIsNotLookedAt => token.floor = false,
            Bug::EpochIsACounter => {
                for (_, mark) in &mut token.marks {
                    if let Mark::Epoch(epoch) = mark
                        && *epoch > Epoch::NEVER
                    {
                        *epoch = Epoch::new(epoch.get() + self.origin());
                    }
                }
            }
            Bug::IssuedAtIsComparedExactly => {
                for (_, mark) in &mut token.marks {
                    if let Mark::IssuedAt(time) = mark {
                        *mark = Mark::Epoch(Epoch::new(time.as_micros()));
                    }
                }
            }
            Bug::ScopeKindIsForgotten => {
                token.marks.iter_mut().for_each(|(scope, _)| *scope = self.scope(scope));
            }
            _ => {}
        }
        self.right.check(service, &token).await
    }

    async fn agree(
        &self,
        service: &Name,
        ours: &TokenSettings,
        before: Option<Ttl>,
    ) -> Result<TokenSettings> {
        let service = &self.service(service)?;
        let recorded = self.right.agree(service, &TokenSettings::new(), None).await?;
        let is_replaced = match self.bug {
            Bug::LastSettingsAreRecorded => true,
            Bug::AnyLifeIsReplaced => before.is_some(),
            Bug::SettingsExpire => self.have_expired(service, recorded.max_life.or(ours.max_life)),
            Bug::SettingsAreReadAndWritten if recorded.max_life.is_none() => {
                yield_now().await;
                ours.check()?;
                let there = self.right.agree(service, &TokenSettings::new(), None).await?;
                self.right.agree(service, ours, there.max_life).await?;
                let mut answered = ours.clone();
                answered.family_life = ours.family_life.max(recorded.family_life);
                return Ok(answered);
            }
            Bug::FirstFamilyLifeStays if recorded.family_life.is_some() => {
                let mut ours = ours.clone();
                ours.family_life = None;
                return self.right.agree(service, &ours, before).await;
            }
            Bug::LaterIssuersAreForgotten if recorded.max_life.is_some() => {
                ours.check()?;
                let mut ours = ours.clone();
                ours.issuer = None;
                return self.right.agree(service, &ours, before).await;
            }
            _ => false,
        };
        if is_replaced {
            self.right.agree(service, ours, before).await?;
            return self.right.agree(service, ours, recorded.max_life).await;
        }
        self.right.agree(service, ours, before).await
    }

    async fn floor(&self, service: &Name) -> Result<Epoch> {
        let service = &self.service(service)?;
        match self.bug {
            Bug::FloorIsRaised => self.right.revoke_all(service, &Scope::Service, Ttl::MAX).await,
            Bug::FloorExpires => match self.right.epochs(service, &[Scope::Service]).await?.as_slice() {
                [epoch] if *epoch > Epoch::NEVER => Ok(*epoch),
                _ => self.right.revoke_all(service, &Scope::Service, Ttl::MIN).await,
            },
            _ => Ok(Epoch::new(self.right.floor(service).await?.get() - self.origin())),
        }
    }
}
