//! Signatures, by jsonwebtoken's cryptography.
//!
//! Which one is said at each call, so that no choice is missing and none is made for the program: jsonwebtoken's own
//! functions panic where two crates of a program bring two kinds of cryptography and nobody has chosen.

use jsonwebtoken::crypto::{CryptoProvider, rust_crypto};

use jsonwebtoken::{DecodingKey, EncodingKey};

use super::algorithm::JwtAlgorithm;
use crate::error::{Error, ErrorKind, Result};

/// What the program has chosen (by `install_default`, or by features that leave no choice), else RustCrypto, which the feature
/// `jwt` brings. Nothing is installed here.
fn chosen() -> &'static CryptoProvider {
    CryptoProvider::try_get_default().unwrap_or(&rust_crypto::DEFAULT_PROVIDER)
}

fn unable(algorithm: JwtAlgorithm) -> Error {
    let message = format!("the cryptography that this program has chosen for JWTs does not do {algorithm}");
    Error::new(ErrorKind::Config, message)
}

pub(super) fn sign(algorithm: JwtAlgorithm, key: &EncodingKey, message: &[u8]) -> Result<Vec<u8>> {
    let signer = (chosen().signer_factory)(&algorithm.native(), key).map_err(|_| unable(algorithm))?;
    signer.try_sign(message).map_err(|_| {
        Error::new(ErrorKind::Internal, "the token could not be signed").with_operation("token.issue")
    })
}

/// Whether the signature is right.
pub(super) fn verify(
    algorithm: JwtAlgorithm,
    key: &DecodingKey,
    message: &[u8],
    signature: &Vec<u8>,
) -> Result<bool> {
    let verifier = (chosen().verifier_factory)(&algorithm.native(), key).map_err(|_| unable(algorithm))?;
    Ok(verifier.verify(message, signature).is_ok())
}

/// Whether this is a key for the algorithm, as far as can be said without a signature.
pub(super) fn fits(algorithm: JwtAlgorithm, key: &DecodingKey) -> bool {
    (rust_crypto::DEFAULT_PROVIDER.verifier_factory)(&algorithm.native(), key).is_ok()
}

/// The public part of a private key: the coordinates of its point, or the point.
pub(super) fn public_part(algorithm: JwtAlgorithm, key: &EncodingKey) -> Option<(Vec<u8>, Vec<u8>)> {
    let utils = &rust_crypto::DEFAULT_PROVIDER.key_utils;
    match algorithm {
        JwtAlgorithm::ES256 | JwtAlgorithm::ES384 => {
            let (_, x, y) =
                (utils.ec_pub_components_from_private_key)(key.as_bytes(), algorithm.native()).ok()?;
            Some((x, y))
        }
        JwtAlgorithm::EdDSA => {
            let curve = jsonwebtoken::jwk::EllipticCurve::Ed25519;
            let x = (utils.ed_pub_components_from_private_key)(key.as_bytes(), &curve).ok()?;
            Some((x, Vec::new()))
        }
        _ => None,
    }
}

/// Modulus and exponent of an RSA key as PEM has it (PKCS#1 in DER).
pub(super) fn rsa_parts(der: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    (rust_crypto::DEFAULT_PROVIDER.key_utils.rsa_pub_components_from_public_key)(der).ok()
}
