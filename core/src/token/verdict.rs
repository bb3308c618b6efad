//! Whether a token still holds, from what is stored.

use std::time::Duration;

use super::{Epoch, Scope};
use crate::time::{Timestamp, seconds};

/// How far the clocks of two machines may differ, unless it is said.
pub(super) const SKEW: Duration = seconds(30);

/// What a token says of the time it was issued, for one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mark {
    /// The scope's epoch, read when the token was issued: exact.
    Epoch(Epoch),
    /// Only the issuer's clock, to the second, as in a JWT that something else issued. The issuer's clock may be ahead of the
    /// store's by the [skew](TokenFacts::skew), so a token that was issued up to so long after the revocation, or in
    /// the second in which that time ends, is taken for one from before: it fails closed.
    IssuedAt(Timestamp),
}

impl Mark {
    /// Whether a token with this mark was issued before the revocation that made `epoch`, or may have been, by clocks that
    /// differ by `skew` at most.
    pub fn is_before(self, epoch: Epoch, skew: Duration) -> bool {
        match self {
            Self::Epoch(mark) => mark < epoch,
            Self::IssuedAt(time) => {
                let revoked = Timestamp::from_micros(epoch.get()).saturating_add(skew);
                time.as_secs() <= revoked.as_secs() && epoch > Epoch::NEVER
            }
        }
    }
}

/// What a check needs to know of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenFacts {
    /// The token's own id (`jti`).
    pub jti: String,
    /// The scopes it belongs to, with what it says of each. At most 8, or what
    /// [`max_marks`](super::TokenCapabilities::max_marks) says.
    pub marks: Vec<(Scope, Mark)>,
    /// How far the issuer's clock may differ from the store's; 30 seconds unless set.
    pub skew: Duration,
    /// Whether the token is refused where the service has no epoch: see [`TokenStore::floor`](super::TokenStore::floor).
    pub floor: bool,
}

impl TokenFacts {
    /// A token in these scopes.
    pub fn new(jti: impl Into<String>, marks: Vec<(Scope, Mark)>) -> Self {
        Self { jti: jti.into(), marks, skew: SKEW, floor: false }
    }

    /// With this skew.
    #[must_use]
    pub fn skew(mut self, skew: Duration) -> Self {
        self.skew = skew;
        self
    }

    /// Refused where the service has no epoch. It needs a mark for [`Scope::Service`].
    #[must_use]
    pub fn floor(mut self) -> Self {
        self.floor = true;
        self
    }

    /// Whether one of the marks is of the whole service.
    pub(crate) fn is_of_the_service(&self) -> bool {
        self.marks.iter().any(|(scope, _)| *scope == Scope::Service)
    }

    /// The verdict on this token, from what a backend has read: whether the `jti` is revoked, and the epoch
    /// of each scope in the order of [`marks`](Self::marks). Backends call this, so that the rule is written
    /// once.
    pub fn verdict(&self, jti_revoked: bool, epochs: &[Epoch]) -> Verdict {
        if jti_revoked {
            return Verdict::Revoked(Reason::Token);
        }
        if self.floor {
            let mut of_service =
                self.marks.iter().zip(epochs).filter(|((scope, _), _)| *scope == Scope::Service);
            if !of_service.any(|(_, epoch)| *epoch > Epoch::NEVER) {
                return Verdict::Revoked(Reason::Lost);
            }
        }
        // Every scope counts by itself: a later mark in one never makes up for an earlier one in another.
        match self.marks.iter().zip(epochs).find(|((_, mark), epoch)| mark.is_before(**epoch, self.skew)) {
            Some(((scope, _), _)) => Verdict::Revoked(Reason::Scope(scope.clone())),
            None => Verdict::Active,
        }
    }
}

/// Whether a token still holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a revoked token must be refused"]
pub enum Verdict {
    /// Nothing that it belongs to was revoked.
    Active,
    /// It was revoked.
    Revoked(Reason),
}

/// What was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// The token itself.
    Token,
    /// A scope that it belongs to.
    Scope(Scope),
    /// The store has lost its revocations, and with them the service's epoch: nobody knows whether the token was revoked.
    Lost,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_mark_is_exact_and_a_time_mark_fails_closed() {
        let second = 1_750_000_000;
        let revoked = Epoch::new(second * 1_000_000 + 500_000);
        assert!(Mark::Epoch(Epoch::NEVER).is_before(revoked, SKEW));
        assert!(!Mark::Epoch(revoked).is_before(revoked, SKEW));
        let issued_at = |seconds| Mark::IssuedAt(Timestamp::from_secs(seconds));
        for after in [0, 1, 29, 30] {
            assert!(issued_at(second + after).is_before(revoked, SKEW), "{after}");
        }
        assert!(!issued_at(second + 31).is_before(revoked, SKEW));
        assert!(!issued_at(second + 1).is_before(revoked, Duration::ZERO));
        assert!(!issued_at(0).is_before(Epoch::NEVER, SKEW));
    }

    #[test]
    fn one_revoked_scope_is_enough() {
        let fresh = Mark::Epoch(Epoch::new(9));
        let facts = TokenFacts::new(
            "j",
            vec![(Scope::Service, fresh), (Scope::User("u".into()), Mark::Epoch(Epoch::NEVER))],
        );
        assert_eq!(facts.verdict(false, &[Epoch::NEVER, Epoch::NEVER]), Verdict::Active);
        assert_eq!(
            facts.verdict(false, &[Epoch::new(9), Epoch::new(1)]),
            Verdict::Revoked(Reason::Scope(Scope::User("u".into())))
        );
        assert_eq!(facts.verdict(true, &[Epoch::NEVER, Epoch::NEVER]), Verdict::Revoked(Reason::Token));
    }

    #[test]
    fn a_floor_refuses_where_the_service_has_no_epoch() {
        let mark = |epoch| vec![(Scope::Service, Mark::Epoch(Epoch::new(epoch)))];
        let lost = Verdict::Revoked(Reason::Lost);
        assert_eq!(TokenFacts::new("j", mark(9)).floor().verdict(false, &[Epoch::NEVER]), lost);
        assert_eq!(TokenFacts::new("j", mark(9)).floor().verdict(false, &[Epoch::new(9)]), Verdict::Active);
        assert_ne!(TokenFacts::new("j", mark(9)).floor().verdict(false, &[Epoch::new(10)]), Verdict::Active);
        assert_eq!(TokenFacts::new("j", Vec::new()).floor().verdict(false, &[]), lost, "without a mark");
        assert_eq!(TokenFacts::new("j", mark(9)).verdict(false, &[Epoch::NEVER]), Verdict::Active);
    }
}
