//! Whether a token still holds, from what is stored.

use super::{Epoch, Scope};
use crate::time::Timestamp;

/// What a token says of the time it was issued, for one scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mark {
    /// The scope's epoch, read when the token was issued: exact.
    Epoch(Epoch),
    /// Only the issuer's clock, to the second, as in a JWT that something else issued. A token issued in the
    /// very second of the revocation, or within the clocks' difference, counts as issued before it: it fails
    /// closed.
    IssuedAt(Timestamp),
}

impl Mark {
    /// Whether a token with this mark was issued before the revocation that made `epoch`.
    pub fn is_before(self, epoch: Epoch) -> bool {
        match self {
            Self::Epoch(mark) => mark < epoch,
            Self::IssuedAt(time) => {
                time.as_secs() <= Timestamp::from_micros(epoch.get()).as_secs() && epoch > Epoch::NEVER
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
}

impl TokenFacts {
    /// A token in these scopes.
    pub fn new(jti: impl Into<String>, marks: Vec<(Scope, Mark)>) -> Self {
        Self { jti: jti.into(), marks }
    }

    /// The verdict on this token, from what a backend has read: whether the `jti` is revoked, and the epoch
    /// of each scope in the order of [`marks`](Self::marks). Backends call this, so that the rule is written
    /// once.
    pub fn verdict(&self, jti_revoked: bool, epochs: &[Epoch]) -> Verdict {
        if jti_revoked {
            return Verdict::Revoked(Reason::Token);
        }
        // Every scope counts by itself: a later mark in one never makes up for an earlier one in another.
        match self.marks.iter().zip(epochs).find(|((_, mark), epoch)| mark.is_before(**epoch)) {
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
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_mark_is_exact_and_a_time_mark_fails_closed() {
        let revoked = Epoch::new(1_750_000_000_500_000);
        assert!(Mark::Epoch(Epoch::NEVER).is_before(revoked));
        assert!(!Mark::Epoch(revoked).is_before(revoked));
        assert!(Mark::IssuedAt(Timestamp::from_secs(1_750_000_000)).is_before(revoked));
        assert!(!Mark::IssuedAt(Timestamp::from_secs(1_750_000_001)).is_before(revoked));
        assert!(!Mark::IssuedAt(Timestamp::from_secs(0)).is_before(Epoch::NEVER));
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
}
