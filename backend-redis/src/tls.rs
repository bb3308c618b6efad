//! TLS: which servers a connection trusts, and the certificate that it shows them.

use std::fmt;
use std::sync::{Arc, OnceLock};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use stanchion::{Error, ErrorKind, Result};

/// The roots that connections trust, and the certificate that they show.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    // Mozilla's unless set.
    roots: Option<Arc<RootCertStore>>,
    client: Option<Arc<ClientCertificate>>,
}

struct ClientCertificate {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl Certificates {
    /// Trusts these roots and no others.
    pub(crate) fn set_roots(&mut self, pem: &[u8]) -> Result<()> {
        let mut roots = RootCertStore::empty();
        let given = certificates(pem, "the root certificate")?;
        if roots.add_parsable_certificates(given).1 > 0 {
            return Err(wrong("the root certificate can't be one"));
        }
        self.roots = Some(Arc::new(roots));
        Ok(())
    }

    /// Shows servers this certificate.
    pub(crate) fn set_client(&mut self, certificate: &[u8], key: &[u8]) -> Result<()> {
        let chain = certificates(certificate, "the client's certificate")?;
        // What is wrong with a key may quote it.
        let key = PrivateKeyDer::from_pem_slice(key)
            .map_err(|_| wrong("the client's private key can't be read: it has to be PEM"))?;
        self.client = Some(Arc::new(ClientCertificate { chain, key }));
        Ok(())
    }

    /// What a handshake is made with.
    pub(crate) fn client_config(&self) -> Result<Arc<ClientConfig>> {
        let mozillas = || RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        let roots = self.roots.clone().unwrap_or_else(|| Arc::new(mozillas()));
        // The cryptography that the process has chosen, if it has.
        let provider = CryptoProvider::get_default().cloned();
        let config = ClientConfig::builder_with_provider(
            provider.unwrap_or_else(|| Arc::new(ring::default_provider())),
        )
        .with_safe_default_protocol_versions()
        .map(|config| config.with_root_certificates(roots));
        let config = config.and_then(|config| match &self.client {
            Some(client) => config.with_client_auth_cert(client.chain.clone(), client.key.clone_key()),
            None => Ok(config.with_no_client_auth()),
        });
        let unusable = |why| wrong("the client's certificate and key can't be used").with_source(why);
        Ok(Arc::new(config.map_err(unusable)?))
    }
}

/// The one configuration of all connections of a backend, so that they resume each other's TLS sessions. It is made for the
/// first of them: by then the process has chosen its cryptography, if it does.
pub(crate) struct TlsClient {
    certificates: Certificates,
    config: OnceLock<Arc<ClientConfig>>,
}

impl TlsClient {
    pub(crate) fn new(certificates: Certificates) -> Self {
        Self { certificates, config: OnceLock::new() }
    }

    pub(crate) fn config(&self) -> Result<Arc<ClientConfig>> {
        if let Some(config) = self.config.get() {
            return Ok(Arc::clone(config));
        }
        let made = self.certificates.client_config()?;
        Ok(Arc::clone(self.config.get_or_init(|| made)))
    }
}

impl fmt::Debug for TlsClient {
    // Without the private key.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TlsClient")
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cryptography_is_chosen_for_the_process() {
        assert!(TlsClient::new(Certificates::default()).config().is_ok());
        assert!(CryptoProvider::get_default().is_none());
    }
}
