//! The certificates of a backend whose addresses have TLS.

use std::path::PathBuf;

use stanchion::{Error, ErrorKind, Result};

use super::settings::RedisConfig;
use crate::tls::Pem;

impl RedisConfig {
    /// Trusts servers whose certificate was issued by this one, or by one of several, in PEM. Unless set, the roots of web
    /// browsers are trusted: Mozilla's list, as it was when this was built.
    ///
    /// The names in the servers' certificates have to be those by which they are connected to; on a Cluster that is what the
    /// nodes announce, an address unless `cluster-preferred-endpoint-type` says otherwise.
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) if it holds no certificate or one that can't be read, and if an address is without TLS.
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Result<Self> {
        self.certificates.set_roots(here(pem));
        self.with_certificates()
    }

    /// As [`root_certificate`](Self::root_certificate), from a file. It is read now, and again for each connection, so that
    /// roots can be replaced while the service runs.
    ///
    /// # Errors
    /// As [`root_certificate`](Self::root_certificate), and if there is no such file. When it is read again, the connection
    /// is not made, as `Config`; it is tried again for ever.
    pub fn root_certificate_file(mut self, path: impl Into<PathBuf>) -> Result<Self> {
        self.certificates.set_roots(Pem::File(path.into()));
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
        self.certificates.set_client(here(certificate), here(key));
        self.with_certificates()
    }

    /// As [`client_certificate`](Self::client_certificate), from two files. They are read now, and again for each connection, so
    /// that a certificate can be replaced before it ends. A connection keeps the one that it was made with.
    ///
    /// # Errors
    /// As [`client_certificate`](Self::client_certificate), and as
    /// [`root_certificate_file`](Self::root_certificate_file).
    pub fn client_certificate_files(
        mut self,
        certificate: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Result<Self> {
        self.certificates.set_client(Pem::File(certificate.into()), Pem::File(key.into()));
        self.with_certificates()
    }

    fn with_certificates(self) -> Result<Self> {
        if !self.uses_tls() {
            let useless = "certificates are of use with TLS only: rediss://host:port";
            return Err(Error::new(ErrorKind::Config, useless));
        }
        self.certificates.check().map(|()| self)
    }
}

fn here(pem: impl Into<Vec<u8>>) -> Pem {
    Pem::Here(pem.into().into())
}
