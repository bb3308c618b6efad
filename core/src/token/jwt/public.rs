//! The public part of a key pair, as a key set has it.

use jsonwebtoken::DecodingKey;

use super::algorithm::{Family, JwtAlgorithm};
use super::crypto;
use crate::error::{Error, Result};

/// Checked: every value of it makes a verifier.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum PublicKey {
    Rsa { n: Vec<u8>, e: Vec<u8> },
    Ec { x: Vec<u8>, y: Vec<u8> },
    Ed { x: Vec<u8> },
}

impl PublicKey {
    /// From PEM: SPKI, a certificate, or PKCS#1 for RSA.
    pub(super) fn of_pem(algorithm: JwtAlgorithm, pem: &[u8]) -> Result<Self> {
        let wrong = || Error::invalid(format!("not a public key for {algorithm} in PEM"));
        let native = match algorithm.family() {
            Family::Secret => {
                return Err(Error::invalid(format!("{algorithm} has no public keys: it takes a secret")));
            }
            Family::Rsa => DecodingKey::from_rsa_pem(pem),
            Family::Ec => DecodingKey::from_ec_pem(pem),
            Family::Ed => DecodingKey::from_ed_pem(pem),
        };
        let native = native.map_err(|_| wrong())?;
        let bytes = native.try_get_as_bytes().map_err(|_| wrong())?;
        let key = match algorithm.family() {
            Family::Rsa => {
                let (n, e) = crypto::rsa_parts(bytes).ok_or_else(wrong)?;
                Self::Rsa { n, e }
            }
            Family::Ec => Self::point(bytes).ok_or_else(wrong)?,
            Family::Ed | Family::Secret => Self::Ed { x: bytes.to_vec() },
        };
        key.checked(algorithm)
    }

    /// A point as SEC 1 writes it, not compressed.
    fn point(bytes: &[u8]) -> Option<Self> {
        let coordinates = bytes.strip_prefix(&[4]).filter(|rest| rest.len().is_multiple_of(2))?;
        let (x, y) = coordinates.split_at(coordinates.len() / 2);
        Some(Self::Ec { x: x.to_vec(), y: y.to_vec() })
    }

    /// Refuses what is no key for this algorithm, and RSA keys of a length that nobody should trust or can use.
    pub(super) fn checked(self, algorithm: JwtAlgorithm) -> Result<Self> {
        let fits = match (&self, algorithm.family()) {
            (Self::Rsa { n, e }, Family::Rsa) => usable_modulus(n) && usable_exponent(e),
            (Self::Ec { x, y }, Family::Ec) => {
                let length = if algorithm == JwtAlgorithm::ES256 { 32 } else { 48 };
                x.len() == length && y.len() == length
            }
            // The verifier takes the first 32 bytes, and panics where there are fewer.
            (Self::Ed { x }, Family::Ed) => x.len() == 32,
            _ => false,
        };
        if fits && crypto::fits(algorithm, &self.native()) {
            return Ok(self);
        }
        Err(Error::invalid(format!("not a public key for {algorithm} (RSA keys have 2,048 to 4,096 bits)")))
    }

    pub(super) fn native(&self) -> DecodingKey {
        match self {
            Self::Rsa { n, e } => DecodingKey::from_rsa_raw_components(n, e),
            Self::Ec { x, y } => DecodingKey::from_ec_der(&[&[4], x.as_slice(), y].concat()),
            Self::Ed { x } => DecodingKey::from_ed_der(x),
        }
    }
}

/// Without the zeros in front: 2,048 to 4,096 bits, and odd, as every product of two large primes is.
fn usable_modulus(n: &[u8]) -> bool {
    let zeros = n.iter().take_while(|byte| **byte == 0).count();
    let bits = match n.get(zeros..) {
        Some([first, rest @ ..]) => rest.len() * 8 + (8 - first.leading_zeros() as usize),
        _ => 0,
    };
    (2_048..=4_096).contains(&bits) && zeros <= 1 && n.last().is_some_and(|last| last % 2 == 1)
}

/// An odd number from 3 to 2^32.
fn usable_exponent(e: &[u8]) -> bool {
    let mut value = 0_u64;
    for byte in e {
        value = value << 8 | u64::from(*byte);
    }
    e.len() <= 5 && (3..=1 << 32).contains(&value) && value % 2 == 1
}
