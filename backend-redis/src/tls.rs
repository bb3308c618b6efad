//! TLS: whom a connection trusts, who it says it is, and why a handshake failed.

use std::error::Error as _;
use std::sync::{Arc, OnceLock};
use std::{fmt, io};

use redis::{ConnectionAddr, RedisError};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use stanchion::{Error, ErrorKind, Result};

use crate::config::RedisConfig;
use crate::error::Access;

/// Whom connections trust, and who they say they are.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    // Mozilla's unless set.
    roots: Option<Arc<RootCertStore>>,
    own: Option<Arc<Own>>,
}

struct Own {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certificates {
    fn client_config(&self) -> Result<Arc<ClientConfig>> {
        let mozillas = || RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let roots = self.roots.clone().unwrap_or_else(|| Arc::new(mozillas()));
        // The cryptography that the process has chosen, if it has.
        let provider = CryptoProvider::get_default().cloned();
        let config = ClientConfig::builder_with_provider(
            provider.unwrap_or_else(|| Arc::new(ring::default_provider())),
        )
        .with_safe_default_protocol_versions()
        .map(|config| config.with_root_certificates(roots));
        let config = config.and_then(|config| match &self.own {
            Some(own) => config.with_client_auth_cert(own.chain.clone(), own.key.clone_key()),
            None => Ok(config.with_no_client_auth()),
        });
        let unusable = |why| wrong("the client's certificate and key can't be used").with_source(why);
        Ok(Arc::new(config.map_err(unusable)?))
    }
}

/// What all connections of a backend are made with, so that they take up each other's TLS sessions. Settled at the first of
/// them: by then the process has chosen its cryptography, if it does.
pub(crate) struct Settled {
    certificates: Certificates,
    config: OnceLock<Arc<ClientConfig>>,
}

impl Settled {
    pub(crate) fn new(certificates: Certificates) -> Self {
        Self { certificates, config: OnceLock::new() }
    }

    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let made = self.certificates.client_config()?;
        Ok(Arc::clone(self.config.get_or_init(|| made)))
    }
}

impl fmt::Debug for Settled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Settled")
    }
}

impl RedisConfig {
    /// Trusts servers whose certificate was issued by this one, in PEM, or by one of several. Unless set, those are trusted
    /// that web browsers trust: Mozilla's list, as it was when this was built.
    ///
    /// The names in the servers' certificates have to be those by which they are connected to; on a Cluster that is what the
    /// nodes announce, an address unless `cluster-preferred-endpoint-type` says otherwise.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) if it holds no certificate or one that can't be read, and if an address is without TLS.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Result<Self> {
        let mut roots = RootCertStore::empty();
        let given = certificates(&pem.into(), "the root certificate")?;
        if roots.add_parsable_certificates(given).1 > 0 {
            return Err(wrong("the root certificate can't be one"));
        }
        self.certificates.roots = Some(Arc::new(roots));
        self.with_certificates()
    }

    /// Shows servers this certificate, with those between it and its root, and proves it by its private key; all in PEM.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) if one of them can't be read, they don't belong together, or an address is without TLS.
    pub fn client_certificate(
        mut self,
        certificate: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Result<Self> {
        let chain = certificates(&certificate.into(), "the client's certificate")?;
        // What is wrong with a key may quote it.
        let key = PrivateKeyDer::from_pem_slice(&key.into())
            .map_err(|_| wrong("the client's private key can't be read: it has to be PEM"))?;
        self.certificates.own = Some(Arc::new(Own { chain, key }));
        self.with_certificates()
    }

    fn with_certificates(self) -> Result<Self> {
        if !self.addresses.iter().all(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. })) {
            return Err(wrong("certificates are of use with TLS only: rediss://host:port"));
        }
        self.certificates.client_config().map(|_| self)
    }
}

fn wrong(what: &str) -> Error {
    Error::new(ErrorKind::Config, what.to_owned())
}

fn certificates(pem: &[u8], what: &str) -> Result<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    certificates
        .ok()
        .filter(|certificates| !certificates.is_empty())
        .ok_or_else(|| wrong(&format!("{what} can't be read: it has to be PEM")))
}

/// What is to be said of a handshake that can't succeed until somebody has set something else.
pub(crate) fn refused(error: &RedisError, access: Access) -> Option<Error> {
    // The client keeps it in an `Arc`, which is the source.
    let source = error.source()?.downcast_ref::<Arc<dyn std::error::Error + Send + Sync>>()?;
    let io = source.downcast_ref::<io::Error>()?;
    let (what, effect) = match io.get_ref()?.downcast_ref::<rustls::Error>()? {
        // Before anything was sent.
        why @ rustls::Error::InvalidCertificate(_) => (
            format!("the server's certificate was refused ({why}): its root is set by `root_certificate`"),
            Access::Read.unanswered(),
        ),
        why @ rustls::Error::AlertReceived(_) => (
            format!(
                "the server refused the TLS handshake ({why}): it may want a certificate (`client_certificate`)"
            ),
            access.unanswered(),
        ),
        _ => return None,
    };
    Some(Error::new(ErrorKind::Config, what).with_effect(effect).with_source(error.clone()))
}

#[cfg(test)]
mod tests {
    use rustls::{AlertDescription, CertificateError};
    use stanchion::Effect;

    use super::*;

    #[test]
    fn no_cryptography_is_chosen_for_the_process() {
        let config = RedisConfig::standalone("rediss://localhost").unwrap();
        assert!(Settled::new(config.certificates).client_config().is_ok());
        assert!(CryptoProvider::get_default().is_none());
    }

    #[test]
    fn a_handshake_that_can_not_succeed_is_for_the_operator() {
        let failed = |why: rustls::Error| RedisError::from(io::Error::new(io::ErrorKind::InvalidData, why));
        let untrusted = failed(rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer));
        let unknown = failed(rustls::Error::AlertReceived(AlertDescription::CertificateRequired));
        let facts = |error: &RedisError| {
            let error = crate::error::from_client(error, Access::Write);
            (error.kind(), error.effect())
        };
        assert_eq!(facts(&untrusted), (ErrorKind::Config, Effect::NotApplied), "before anything was sent");
        assert_eq!(facts(&unknown), (ErrorKind::Config, Effect::Unknown), "an alert may come at any time");
        // What may go by itself.
        let disturbed = failed(rustls::Error::DecryptError);
        assert_eq!(facts(&disturbed), (ErrorKind::Unavailable, Effect::Unknown));
        let broken = RedisError::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(facts(&broken), (ErrorKind::Unavailable, Effect::Unknown));
    }
}
