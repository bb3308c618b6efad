//! What all who share the tokens of a service must agree on.

use crate::error::{Error, Result};
use crate::time::Ttl;

/// The settings that whoever issues, revokes and checks the tokens of one service must share. They are recorded in the
/// store by the first who sets them, and compared or taken over by everybody after.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenSettings {
    /// The longest life of a token, for which revocations are kept.
    pub max_life: Option<Ttl>,
    /// The `iss` claim of its tokens.
    pub issuer: Option<String>,
    /// The longest life of a family of refresh tokens. Whoever revokes a user or a client of the service, or the service itself, keeps
    /// that for as long, whether it issues refresh tokens or not.
    pub family_life: Option<Ttl>,
}

impl TokenSettings {
    /// The longest length of an issuer's name, in bytes.
    pub const MAX_ISSUER: usize = 1_024;

    /// Nothing is set.
    pub const fn new() -> Self {
        Self { max_life: None, issuer: None, family_life: None }
    }

    /// With a longest life.
    #[must_use]
    pub fn max_life(mut self, life: Ttl) -> Self {
        self.max_life = Some(life);
        self
    }

    /// With an issuer.
    #[must_use]
    pub fn issuer(mut self, issuer: impl Into<String>) -> Self {
        self.issuer = Some(issuer.into());
        self
    }

    /// With a longest life of refresh tokens.
    #[must_use]
    pub fn family_life(mut self, life: Ttl) -> Self {
        self.family_life = Some(life);
        self
    }

    /// Refuses what no backend records: an issuer that is empty or longer than [`MAX_ISSUER`](Self::MAX_ISSUER).
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput).
    pub fn check(&self) -> Result<()> {
        match self.issuer.as_deref().map(str::len) {
            Some(0) => Err(Error::invalid("the issuer of tokens has a name, or is not set")),
            Some(length) if length > Self::MAX_ISSUER => Err(Error::invalid(format!(
                "the name of an issuer has {} bytes at most, got {length}",
                Self::MAX_ISSUER
            ))),
            _ => Ok(()),
        }
    }

    /// What is recorded once somebody who has `ours` has agreed to what is recorded so far: each setting is recorded where there
    /// is none, a longest life of `before` is replaced, and that of refresh tokens only grows. For backends, so that the rule is written once.
    #[must_use]
    pub fn agreed(mut self, ours: &Self, before: Option<Ttl>) -> Self {
        if self.max_life.is_none() || (before.is_some() && self.max_life == before) {
            self.max_life = ours.max_life.or(self.max_life);
        }
        if self.issuer.is_none() {
            self.issuer.clone_from(&ours.issuer);
        }
        self.family_life = self.family_life.max(ours.family_life);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::seconds;

    #[test]
    fn what_is_recorded_is_replaced_only_by_who_names_it() {
        let life = |secs| Ttl::new(seconds(secs)).unwrap();
        let of = |secs| TokenSettings::new().max_life(life(secs));
        let none = TokenSettings::new();
        assert_eq!(none.clone().agreed(&none, None), none);
        assert_eq!(none.clone().agreed(&of(1).issuer("a"), None), of(1).issuer("a"));
        assert_eq!(of(1).agreed(&of(2).issuer("b"), None), of(1).issuer("b"));
        assert_eq!(of(1).issuer("a").agreed(&of(2).issuer("b"), Some(life(1))), of(2).issuer("a"));
        assert_eq!(of(1).agreed(&of(2), Some(life(3))), of(1));
        assert_eq!(of(1).agreed(&none, Some(life(1))), of(1));
        let families = |secs| none.clone().family_life(life(secs));
        assert_eq!(none.clone().agreed(&families(5), None), families(5));
        assert_eq!(families(5).agreed(&families(4), None), families(5));
        assert_eq!(families(5).agreed(&none, Some(life(5))), families(5));
        assert_eq!(families(5).agreed(&families(6), None), families(6));
    }
}
