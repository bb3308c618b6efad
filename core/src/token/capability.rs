//! What a token backend can take.

use std::time::Duration;

use crate::contract::{BaseCapabilities, Contract};
use crate::error::{Error, Result};
use crate::key::escape;
use crate::token::TokenFacts;

/// The bounds of a token backend, declared and checked before a call reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenCapabilities {
    /// What every store declares.
    pub base: BaseCapabilities,
    /// The most scopes that one token may belong to; every backend takes 8.
    pub max_marks: usize,
}

impl TokenCapabilities {
    /// 8 marks a token.
    pub const fn new(contract: Contract) -> Self {
        Self { base: BaseCapabilities::new(contract), max_marks: 8 }
    }

    /// With a deadline for every call.
    #[must_use]
    pub const fn call_deadline(mut self, deadline: Duration) -> Self {
        self.base = self.base.call_deadline(deadline);
        self
    }

    /// Refuses what no backend checks: an empty or overlong `jti` or scope, and too many marks.
    pub fn check_facts(&self, token: &TokenFacts) -> Result<()> {
        if token.marks.len() > self.max_marks {
            return Err(Error::invalid(format!(
                "a token may have {} marks, got {}",
                self.max_marks,
                token.marks.len()
            )));
        }
        escape(&token.jti)?;
        token.marks.iter().try_for_each(|(scope, _)| scope.segment().map(drop))
    }
}
