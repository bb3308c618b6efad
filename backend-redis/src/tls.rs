//! TLS: which servers a connection trusts, and the certificate that it shows them.

use std::borrow::Cow;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use sha2::{Digest, Sha256};
use stanchion::{Error, ErrorKind, Result};

/// The roots that connections trust, and the certificate that they show.
#[derive(Clone, Default)]
pub(crate) struct Certificates {
    // Mozilla's unless set.
    roots: Option<Pem>,
    // A chain and its key.
    client: Option<(Pem, Pem)>,
}

/// Where certificates and keys are.
#[derive(Clone)]
pub(crate) enum Pem {
    Here(Arc<[u8]>),
    /// In a file, whose content may change.
    File(PathBuf),
}

/// All that a handshake needs, as it was read.
struct Contents<'a> {
    roots: Option<Text<'a>>,
    client: Option<(Text<'a>, Text<'a>)>,
}

/// In PEM.
type Text<'a> = Cow<'a, [u8]>;

impl Pem {
    fn read(&self, what: &str) -> Result<Text<'_>> {
        match self {
            Self::Here(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::File(path) => std::fs::read(path).map(Cow::Owned).map_err(|why| {
                let shown = path.to_string_lossy();
                // A key in place of the path to it is a secret.
                if shown.contains('\n') || shown.contains("-----") {
                    return wrong(&format!(
                        "{what} can't be read: its path is no path, but what a file should hold"
                    ));
                }
                wrong(&format!("{what} can't be read from {shown}: {}", why.kind()))
            }),
        }
    }
}

impl Certificates {
    /// Trusts these roots and no others.
    pub(crate) fn set_roots(&mut self, pem: Pem) {
        self.roots = Some(pem);
    }

    /// Shows servers this certificate.
    pub(crate) fn set_client(&mut self, certificate: Pem, key: Pem) {
        self.client = Some((certificate, key));
    }

    /// Whether they can be used, as they are now.
    pub(crate) fn check(&self) -> Result<()> {
        self.read()?.client_config().map(drop)
    }

    fn read(&self) -> Result<Contents<'_>> {
        let roots = self.roots.as_ref().map(|pem| pem.read("the root certificate")).transpose()?;
        let client = match &self.client {
            Some((chain, key)) => {
                Some((chain.read("the client's certificate")?, key.read("the client's private key")?))
            }
            None => None,
        };
        Ok(Contents { roots, client })
    }
}

impl Contents<'_> {
    /// What a handshake is made with.
    fn client_config(&self) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        match &self.roots {
            Some(pem) => {
                if roots.add_parsable_certificates(certificates(pem, "the root certificate")?).1 > 0 {
                    return Err(wrong("the root certificate can't be one"));
                }
            }
            None => roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned()),
        }
        // The cryptography that the process has chosen, if it has.
        let provider = CryptoProvider::get_default().cloned();
        let config = ClientConfig::builder_with_provider(
            provider.unwrap_or_else(|| Arc::new(ring::default_provider())),
        )
        .with_safe_default_protocol_versions()
        .map(|config| config.with_root_certificates(roots));
        let client = match &self.client {
            Some((chain, key)) => {
                let chain = certificates(chain, "the client's certificate")?;
                // What is wrong with a key may quote it.
                let key = PrivateKeyDer::from_pem_slice(key)
                    .map_err(|_| wrong("the client's private key can't be read: it has to be PEM"))?;
                Some((chain, key))
            }
            None => None,
        };
        let config = config.and_then(|config| match client {
            Some((chain, key)) => config.with_client_auth_cert(chain, key),
            None => Ok(config.with_no_client_auth()),
        });
        let unusable = |why| wrong("the client's certificate and key can't be used").with_source(why);
        Ok(Arc::new(config.map_err(unusable)?))
    }

    /// The same for the same contents.
    fn digest(&self) -> [u8; 32] {
        let client = self.client.iter().flat_map(|(chain, key)| [chain, key]);
        let parts = self.roots.iter().chain(client);
        parts.fold(Sha256::new(), |hash, part| hash.chain_update(Sha256::digest(part))).finalize().into()
    }
}

/// What the connections of a backend make their handshakes with.
///
/// As long as the certificates stay the same it is one configuration, so that connections resume each other's TLS sessions. It is
/// made for the first of them: by then the process has chosen its cryptography, if it does.
pub(crate) struct TlsClient {
    certificates: Arc<Certificates>,
    made: Mutex<Option<([u8; 32], Arc<ClientConfig>)>>,
}

impl TlsClient {
    pub(crate) fn new(certificates: Certificates) -> Self {
        Self { certificates: Arc::new(certificates), made: Mutex::default() }
    }

    /// That of now: files are read anew.
    pub(crate) async fn config(self: &Arc<Self>) -> Result<Arc<ClientConfig>> {
        let client = Arc::clone(self);
        // Where there are files, a disk may be slow.
        let reading = tokio::task::spawn_blocking(move || client.read());
        reading.await.unwrap_or_else(|_| Err(wrong("the certificates can't be read")))
    }

    fn read(&self) -> Result<Arc<ClientConfig>> {
        let contents = self.certificates.read()?;
        let digest = contents.digest();
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, config)) = &*made
            && *of == digest
        {
            return Ok(Arc::clone(config));
        }
        let config = contents.client_config()?;
        *made = Some((digest, Arc::clone(&config)));
        Ok(config)
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

    #[tokio::test]
    async fn no_cryptography_is_chosen_for_the_process() {
        let client = Arc::new(TlsClient::new(Certificates::default()));
        let first = client.config().await.unwrap();
        assert!(Arc::ptr_eq(&first, &client.config().await.unwrap()), "sessions are resumed");
        assert!(CryptoProvider::get_default().is_none());
    }

    #[test]
    fn a_file_that_is_missing_is_said() {
        let mut certificates = Certificates::default();
        certificates.set_roots(Pem::File("/no/such/root.pem".into()));
        let error = certificates.check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.to_string().contains("/no/such/root.pem"), "{error}");
    }
}
