//! The secret that a client holds.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::random::Random;
use crate::token::{FamilyId, RefreshHash, Salt};

const FAMILY: usize = 16;
const OWN: usize = 32;

/// A refresh token: 16 bytes that all of its family share, and 256 bits of its own. Whoever has it gets tokens: it never appears
/// in `Debug`, in logs or in the store, which has hashes.
#[derive(Clone, PartialEq, Eq)]
pub struct RefreshToken([u8; FAMILY + OWN]);

impl RefreshToken {
    /// The first of a new family.
    pub(super) fn generate(random: &dyn Random) -> Result<Self> {
        let mut bytes = [0; FAMILY + OWN];
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// Reads what a client sent; `None` for anything that is not a token. Not an error: clients send anything.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; FAMILY + OWN];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(length) if length == bytes.len() => Some(Self(bytes)),
            _ => None,
        }
    }

    /// The text to send to the client: 64 characters, `[A-Za-z0-9_-]`. The only way to see the secret.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The public name of its family.
    pub fn family(&self) -> FamilyId {
        FamilyId::new(hash(b"stanchion refresh family 1\0", &self.0[..FAMILY]))
    }

    pub(super) fn hash(&self) -> RefreshHash {
        RefreshHash::new(hash(b"stanchion refresh token 1\0", &self.0))
    }

    /// The one that takes its place. Made of this one and the salt, so that whoever has this one can be given the same again, and
    /// whoever has only what is stored can't make it.
    pub(super) fn successor(&self, salt: &Salt) -> Self {
        let mut mac = Hmac::<Sha256>::new(&key_of(&self.0[FAMILY..]));
        mac.update(b"stanchion refresh successor 1\0");
        mac.update(salt.bytes());
        let mut bytes = self.0;
        bytes[FAMILY..].copy_from_slice(&mac.finalize().into_bytes());
        Self(bytes)
    }
}

/// A key as long as a block of the hash, which every shorter one is made to by zeros.
fn key_of(own: &[u8]) -> hmac::digest::Key<Hmac<Sha256>> {
    let mut key = hmac::digest::Key::<Hmac<Sha256>>::default();
    key[..own.len()].copy_from_slice(own);
    key
}

fn hash(domain: &[u8], bytes: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(domain).chain_update(bytes).finalize().into()
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RefreshToken(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    #[test]
    fn a_token_reads_back_and_hides_itself() {
        let token = RefreshToken::generate(&SystemRandom).unwrap();
        let text = token.reveal();
        assert_eq!(text.len(), 64);
        assert_eq!(RefreshToken::parse(&text), Some(token.clone()));
        assert!(!format!("{token:?}").contains(&text));
        for bad in ["", "x", &text[1..], &format!("{text}A"), &"é".repeat(32), &text.replace(&text[..1], "=")]
        {
            assert_eq!(RefreshToken::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_successor_is_of_the_same_family_and_needs_token_and_salt() {
        let token = RefreshToken::generate(&SystemRandom).unwrap();
        let (one, other) = (Salt::new([1; 32]), Salt::new([2; 32]));
        let next = token.successor(&one);
        assert_eq!(next, token.successor(&one));
        assert_eq!(next.family(), token.family());
        assert_ne!(next, token.successor(&other));
        assert_ne!(next.hash(), token.hash());
        assert_ne!(RefreshToken::generate(&SystemRandom).unwrap().successor(&one), next);
    }

    #[test]
    fn what_is_stored_and_derived_is_what_it_was_before() {
        let token = RefreshToken([7; 48]);
        assert_eq!(token.family().to_string(), "OLW-XObAsLAW8sZR___lJEzlEUqWdbDnVlCWKlOq_N4");
        assert_eq!(token.hash().to_string(), "Kxiq_NpMIUoZOvIApDHzp_cKSgNTODAA67I1JW8iUew");
        assert_eq!(
            token.successor(&Salt::new([9; 32])).reveal(),
            "BwcHBwcHBwcHBwcHBwcHB2lIUmeaGs5C87qpH4icunSJKX31AsIOTKCE3bWDBygJ"
        );
    }
}
