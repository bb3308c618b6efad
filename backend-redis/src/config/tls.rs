//! The certificates of a backend whose addresses have TLS.

use redis::ConnectionAddr;
use stanchion::{Error, ErrorKind, Result};

use super::settings::RedisConfig;

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
        self.certificates.set_roots(&pem.into())?;
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
        self.certificates.set_client(&certificate.into(), &key.into())?;
        self.with_certificates()
    }

    fn with_certificates(self) -> Result<Self> {
        if !self.addresses.iter().all(|info| matches!(info.addr(), ConnectionAddr::TcpTls { .. })) {
            let useless = "certificates are of use with TLS only: rediss://host:port";
            return Err(Error::new(ErrorKind::Config, useless));
        }
        self.certificates.client_config().map(|_| self)
    }
}
