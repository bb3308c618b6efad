//! The key pair of the tokens. The auth service signs; who has the public key can only verify.

use ed25519_dalek::SigningKey;
use ed25519_dalek::pkcs8::spki::der::pem::LineEnding;
use ed25519_dalek::pkcs8::{EncodePrivateKey, EncodePublicKey};
use stanchion::prelude::*;
use stanchion::random::{Random, SystemRandom};

/// The variables through which a deployment hands the keys to its services.
pub(crate) const PRIVATE: &str = "JWT_PRIVATE_KEY";
pub(crate) const PUBLIC: &str = "JWT_PUBLIC_KEY";

/// Stands in the header of each token, so that keys can be rotated.
const ID: &str = "demo-1";

/// An Ed25519 key pair in PEM. Not `Debug`: half of it is a secret.
pub(crate) struct KeyPair {
    pub(crate) private: String,
    pub(crate) public: String,
}

impl KeyPair {
    /// A new pair, for one run.
    pub(crate) fn generate() -> stanchion::Result<Self> {
        let mut seed = [0; 32];
        SystemRandom.fill(&mut seed)?;
        let key = SigningKey::from_bytes(&seed);
        let unwritable = |_| Error::new(ErrorKind::Internal, "the key can't be written as PEM");
        let private = key.to_pkcs8_pem(LineEnding::LF).map_err(unwritable)?.to_string();
        let public = key.verifying_key().to_public_key_pem(LineEnding::LF);
        Ok(Self { private, public: public.map_err(|error| unwritable(error.into()))? })
    }

    /// The pair from the environment, or `None` if it has neither half.
    pub(crate) fn from_env() -> stanchion::Result<Option<Self>> {
        match (std::env::var(PRIVATE), std::env::var(PUBLIC)) {
            (Ok(private), Ok(public)) => Ok(Some(Self { private, public })),
            (Err(_), Err(_)) => Ok(None),
            _ => Err(Error::new(ErrorKind::Config, format!("{PRIVATE} and {PUBLIC} belong together"))),
        }
    }

    /// For the service that signs.
    pub(crate) fn signing(&self) -> stanchion::Result<JwtKey> {
        JwtKey::ed25519(ID, self.private.as_bytes(), self.public.as_bytes())
    }
}

/// For a service that only verifies.
pub(crate) fn verifying(public: &str) -> stanchion::Result<JwtKey> {
    JwtKey::ed25519_verifying(ID, public.as_bytes())
}

#[cfg(test)]
mod tests {
    use stanchion_memory::MemoryBackend;

    use super::*;

    #[tokio::test]
    async fn the_public_half_verifies_and_does_not_sign() {
        let stores = MemoryBackend::new().stores();
        let (pair, other) = (KeyPair::generate().unwrap(), KeyPair::generate().unwrap());
        let signing = stores.tokens().key(pair.signing().unwrap()).build().unwrap();
        let token = signing.issue("ada", IssueOptions::new()).await.unwrap().token;
        let tokens = |pair: &KeyPair| stores.tokens().key(verifying(&pair.public).unwrap()).build().unwrap();
        assert_eq!(tokens(&pair).verify(&token).await.unwrap().sub, "ada");
        assert!(tokens(&other).verify(&token).await.is_err());
        let refused = tokens(&pair).issue("ada", IssueOptions::new()).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Config);
    }
}
