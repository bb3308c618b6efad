//! Servers that speak TLS.

use std::path::PathBuf;

/// The files, in PEM, by which a server speaks TLS.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TlsFiles {
    /// Whom it trusts: clients, and on a Cluster the other nodes.
    pub root: PathBuf,
    /// Its certificate, for servers and for clients.
    pub certificate: PathBuf,
    /// The private key of its certificate.
    pub key: PathBuf,
    /// Whether clients have to have a certificate.
    pub asks_clients: bool,
}

impl TlsFiles {
    /// With these files, for clients with or without a certificate.
    pub fn new(root: PathBuf, certificate: PathBuf, key: PathBuf) -> Self {
        Self { root, certificate, key, asks_clients: false }
    }

    /// For clients with a certificate only.
    #[must_use]
    pub fn asking_clients(mut self) -> Self {
        self.asks_clients = true;
        self
    }

    /// The arguments of a server that speaks TLS on this port.
    pub(super) fn args(&self, port: u16) -> Vec<String> {
        let path = |path: &PathBuf| path.to_string_lossy().into_owned();
        let settings = [
            ("--tls-port", port.to_string()),
            ("--tls-ca-cert-file", path(&self.root)),
            ("--tls-cert-file", path(&self.certificate)),
            ("--tls-key-file", path(&self.key)),
            ("--tls-auth-clients", if self.asks_clients { "yes" } else { "no" }.to_owned()),
        ];
        settings.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
    }
}
