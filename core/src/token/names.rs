//! The names of what a verdict depends on.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use super::TokenFacts;
use crate::error::Result;

/// The name under which a revoked token is stored and watched: `jti:` and the SHA-256 of its `jti`, in base64url without padding.
pub fn revocation_name(jti: &str) -> String {
    format!("jti:{}", URL_SAFE_NO_PAD.encode(Sha256::digest(jti.as_bytes())))
}

impl TokenFacts {
    /// The names of all that a verdict on this token depends on: its own [`revocation_name`], and the
    /// [`segment`](super::Scope::segment) of each of its scopes.
    ///
    /// # Errors
    /// [`InvalidInput`](crate::ErrorKind::InvalidInput) for an empty or overlong identifier.
    pub fn names(&self) -> Result<Vec<String>> {
        let mut names = vec![revocation_name(&self.jti)];
        for (scope, _) in &self.marks {
            names.push(scope.segment()?);
        }
        Ok(names)
    }
}
