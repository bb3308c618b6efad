//! A server that speaks TLS, to clients with a certificate only.

#[expect(clippy::unwrap_used, reason = "a test that makes certificates has nothing else to say")]
#[path = "../tls/certificates.rs"]
mod certificates;

use std::path::PathBuf;

use stanchion::Result;
use stanchion_conformance::servers::{Absent, RedisProcess, Search};
use stanchion_redis::RedisConfig;

use self::certificates::{Folder, Root};

/// What a client needs: files, since a child process needs them too.
#[derive(Debug, Clone)]
pub(super) struct ClientFiles {
    root: PathBuf,
    certificate: PathBuf,
    key: PathBuf,
}

impl ClientFiles {
    pub(super) fn used_by(&self, config: RedisConfig) -> Result<RedisConfig> {
        config.root_certificate_file(&self.root)?.client_certificate_files(&self.certificate, &self.key)
    }

    /// For the environment of a child.
    pub(super) fn to_text(&self) -> String {
        [&self.root, &self.certificate, &self.key].map(|path| path.to_string_lossy().into_owned()).join(",")
    }

    pub(super) fn from_text(text: &str) -> Option<Self> {
        let mut paths = text.split(',').map(PathBuf::from);
        Some(Self { root: paths.next()?, certificate: paths.next()?, key: paths.next()? })
    }
}

/// Starts a server of our own. The files are there as long as the folder is.
pub(super) async fn start() -> Result<(RedisProcess, Folder, ClientFiles), Absent> {
    Search::from_env().owned()?;
    let root = Root::new("ours");
    let folder = Folder::here(&root);
    let [certificate, key] = folder.client(&root.issue(&["client"]));
    let files = folder.files.clone().asking_clients();
    let server = RedisProcess::start_tls(&files, &[]).await?;
    Ok((server, folder, ClientFiles { root: files.root, certificate, key }))
}
