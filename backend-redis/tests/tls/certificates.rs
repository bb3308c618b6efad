//! Certificates, made for the case.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use stanchion_conformance::servers::TlsFiles;

/// Who issues certificates.
pub(crate) struct Root(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, in PEM.
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) key: String,
}

impl Root {
    /// One of its own name, so that it is not taken for another one.
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        Self(CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    /// A certificate for these names.
    pub(crate) fn issue(&self, names: &[&str]) -> Certificate {
        let key = KeyPair::generate().unwrap();
        let names: Vec<_> = names.iter().map(ToString::to_string).collect();
        let mut params = CertificateParams::new(names).unwrap();
        params.distinguished_name.push(DnType::CommonName, "issued");
        let certificate = params.signed_by(&key, &self.0).unwrap();
        Certificate { pem: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A folder with the files of a server; it goes when this does.
pub(crate) struct Folder {
    path: PathBuf,
    pub(crate) files: TlsFiles,
}

impl Folder {
    /// For servers of these names.
    pub(crate) fn of(root: &Root, names: &[&str]) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("stanchion-tls-{}-{number}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        let file = |name: &str| path.join(name);
        let files = TlsFiles::new(file("root.pem"), file("server.pem"), file("server-key.pem"));
        let folder = Self { path, files };
        folder.issue_anew(root, names);
        folder
    }

    /// The same files, issued by another root, for servers that are started after this.
    pub(crate) fn issue_anew(&self, root: &Root, names: &[&str]) {
        let own = root.issue(names);
        fs::write(&self.files.root, root.pem()).unwrap();
        fs::write(&self.files.certificate, own.pem).unwrap();
        fs::write(&self.files.key, own.key).unwrap();
    }

    /// A client's certificate and its key, in files.
    pub(crate) fn client(&self, client: &Certificate) -> [PathBuf; 2] {
        let [certificate, key] = ["client.pem", "client-key.pem"].map(|name| self.path.join(name));
        fs::write(&certificate, &client.pem).unwrap();
        fs::write(&key, &client.key).unwrap();
        [certificate, key]
    }

    /// For servers at the address of this machine.
    pub(crate) fn here(root: &Root) -> Self {
        Self::of(root, &["127.0.0.1", "localhost"])
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left is in the folder for such things.
        let _ = fs::remove_dir_all(&self.path);
    }
}
