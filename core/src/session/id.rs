//! The secret that a client holds, and the name under which its session is stored.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::environment::HashingKey;
use crate::error::{Error, Result};
use crate::key::bucket_of;
use crate::random::Random;

const RANDOM: usize = 32;

/// What the client holds, as a cookie or bearer token: 256 random bits and the bucket of its user. Whoever
/// has it has the session: it never appears in `Debug`, in logs or in the store.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken([u8; 2 + RANDOM]);

impl SessionToken {
    /// A new secret for a session of this user.
    pub fn generate(user: &str, random: &dyn Random) -> Result<Self> {
        let mut bytes = [0; 2 + RANDOM];
        bytes[..2].copy_from_slice(&bucket_of(user).to_be_bytes());
        random.fill(&mut bytes[2..])?;
        Ok(Self(bytes))
    }

    /// A new secret for a session of nobody yet, in any bucket.
    pub fn anonymous(random: &dyn Random) -> Result<Self> {
        let mut bytes = [0; 2 + RANDOM];
        random.fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// A new secret for a session that takes the place of this one: in the same bucket.
    pub fn beside(id: &SessionId, random: &dyn Random) -> Result<Self> {
        let mut bytes = [0; 2 + RANDOM];
        bytes[..2].copy_from_slice(&id.bucket.to_be_bytes());
        random.fill(&mut bytes[2..])?;
        Ok(Self(bytes))
    }

    /// Reads what a client sent; `None` for anything that is not a token. Not an error: clients send anything.
    pub fn parse(text: &str) -> Option<Self> {
        let mut bytes = [0; 2 + RANDOM];
        match URL_SAFE_NO_PAD.decode_slice(text, &mut bytes) {
            Ok(length) if length == bytes.len() => Some(Self(bytes)),
            _ => None,
        }
    }

    /// The text to send to the client: 46 characters, `[A-Za-z0-9_-]`. The only way to see the secret.
    pub fn reveal(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }
}

impl fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionToken(..)")
    }
}

/// The public name of a session: safe to store, log, show in a list of devices, and put into a JWT as `sid`.
/// Nobody can open the session with it.
///
/// As text: the user's bucket as four hexadecimal digits, a dot, and 43 characters of base64url.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId {
    bucket: u16,
    hash: [u8; 32],
}

impl SessionId {
    /// The hash of the user that all sessions of one user share. Backends take it modulo their bucket count.
    pub const fn bucket(&self) -> u16 {
        self.bucket
    }

    /// The hash itself.
    #[cfg(feature = "encryption")]
    pub(super) const fn hash(&self) -> &[u8; 32] {
        &self.hash
    }

    /// The hash alone, 43 characters of base64url.
    pub fn hash_text(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.hash)
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}.{}", self.bucket, self.hash_text())
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionId({self})")
    }
}

impl FromStr for SessionId {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || Error::invalid("not a session id");
        let (bucket, hash) = text.split_once('.').ok_or_else(wrong)?;
        let mut bytes = [0; 32];
        // Four lower-case digits exactly, so that one id has one text.
        let digits = bucket.len() == 4 && bucket.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        match (digits, URL_SAFE_NO_PAD.decode_slice(hash, &mut bytes)) {
            (true, Ok(32)) => {
                Ok(Self { bucket: u16::from_str_radix(bucket, 16).map_err(|_| wrong())?, hash: bytes })
            }
            _ => Err(wrong()),
        }
    }
}

impl HashingKey {
    /// The public name of the session that this token opens, if it was stored under this key.
    pub fn session_id(&self, token: &SessionToken) -> SessionId {
        let bucket = u16::from_be_bytes([token.0[0], token.0[1]]);
        SessionId { bucket, hash: self.hash(b"stanchion session 1\0", &token.0) }
    }

    /// The names under which the session that this token opens may be stored: the one under this key first, then those under
    /// the older ones that are known.
    pub fn session_ids(&self, token: &SessionToken) -> impl Iterator<Item = SessionId> {
        self.keys().map(|key| key.session_id(token))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::SystemRandom;

    #[test]
    fn a_token_reads_back_and_hides_itself() {
        let token = SessionToken::generate("u1", &SystemRandom).unwrap();
        let text = token.reveal();
        assert_eq!(text.len(), 46);
        assert_eq!(SessionToken::parse(&text), Some(token.clone()));
        assert!(!format!("{token:?}").contains(&text));
        for bad in ["", "x", &text[1..], &format!("{text}A"), &"é".repeat(23), &text.replace(&text[..1], "=")]
        {
            assert_eq!(SessionToken::parse(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_id_depends_on_token_and_key_and_reads_back() {
        let token = SessionToken::generate("u1", &SystemRandom).unwrap();
        let plain = HashingKey::unkeyed().session_id(&token);
        let keyed = HashingKey::new("k1", &[7; 32]).unwrap().session_id(&token);
        assert_ne!(plain, keyed);
        assert_eq!(plain.bucket(), bucket_of("u1"));
        let beside = SessionToken::beside(&plain, &SystemRandom).unwrap();
        let beside = HashingKey::unkeyed().session_id(&beside);
        assert_eq!(beside.bucket(), plain.bucket());
        assert_ne!(beside, plain);
        assert_ne!(
            SessionToken::anonymous(&SystemRandom).unwrap(),
            SessionToken::anonymous(&SystemRandom).unwrap()
        );
        assert_eq!(plain.to_string().parse::<SessionId>().ok(), Some(plain.clone()));
        let upper = plain.to_string().to_uppercase();
        for bad in ["", "0000.", "0.AAAA", "zzzz.AAAA", &upper, &token.reveal()] {
            assert!(bad.parse::<SessionId>().is_err(), "{bad:?}");
        }
    }
}
