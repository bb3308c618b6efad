//! A server that knows one user only, with the rights of `acl/service.acl`.

use std::path::PathBuf;
use std::sync::OnceLock;

use stanchion_conformance::servers::{Absent, RedisProcess, Search};

const TEMPLATE: &str = include_str!("../../acl/service.acl");
const USER: &str = "stanchion";
const PASSWORD: &str = "sesame";
/// Who may do what the harness does to what is stored, and the backend may not.
const OPERATOR: &str = "operator";

/// The template, filled in and written to a file of its own.
pub(super) struct AclFile {
    path: PathBuf,
    written: OnceLock<Result<(), String>>,
}

impl AclFile {
    /// For every [`Place`](stanchion_conformance::Place): their prefixes have this form.
    pub(super) fn for_places() -> Self {
        let path = std::env::temp_dir().join(format!("stanchion-{}.acl", std::process::id()));
        Self { path, written: OnceLock::new() }
    }

    /// Written once: a server may be reading it.
    fn write(&self) -> Result<(), Absent> {
        let text = || {
            let text = TEMPLATE.replace("{user}", USER).replace("{password}", PASSWORD);
            let service = text.replace("{prefix}", "t????????????????");
            format!("{service}\nuser {OPERATOR} on >{PASSWORD} ~* &* +@all\n")
        };
        let written =
            self.written.get_or_init(|| std::fs::write(&self.path, text()).map_err(|e| e.to_string()));
        written.clone().map_err(|message| Absent { message, fatal: true })
    }

    /// A server of our own with this file.
    pub(super) async fn start(&self) -> Result<RedisProcess, Absent> {
        Search::from_env().owned()?;
        self.write()?;
        let path = self.path.to_string_lossy();
        RedisProcess::start_with(&["--aclfile", &path]).await.map_err(Absent::from)
    }
}

/// The URL with user and password.
pub(super) fn with_user(url: &str) -> String {
    with(USER, url)
}

/// The URL with the user that may do everything.
pub(super) fn with_operator(url: &str) -> String {
    with(OPERATOR, url)
}

fn with(user: &str, url: &str) -> String {
    url.replacen("redis://", &format!("redis://{user}:{PASSWORD}@"), 1)
}

impl Drop for AclFile {
    fn drop(&mut self) {
        // The file is that of whoever wrote it. One that is gone already is as good.
        if self.written.get().is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}
