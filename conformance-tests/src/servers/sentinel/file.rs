//! Servers that are started by a file of settings, which they write anew when a sentinel changes their role: so a
//! node that is restarted is what it was last made, and a sentinel knows what it had learnt.

use std::path::{Path, PathBuf};

use super::super::port::Port;
use super::super::process::{RedisProcess, on_free_port};
use super::super::watcher::Watched;
use super::super::{ServerError, TlsFiles};

/// What is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Node,
    Sentinel,
}

/// Starts a server with these settings, each given as the arguments of a server are: `["--name", "value", …]`.
pub(super) async fn start(
    binary: &Path,
    kind: Kind,
    tls: Option<&TlsFiles>,
    settings: &[String],
) -> Result<RedisProcess, ServerError> {
    on_free_port(|port| async move {
        let tls = tls.map(|files| Port::claim().map(|port| (files, port))).transpose()?;
        let watched = Watched::new(|folder| {
            let flag = (kind == Kind::Sentinel).then(|| PathBuf::from("--sentinel"));
            [binary.to_path_buf(), folder.join(NAME)].into_iter().chain(flag).collect()
        })?;
        let (number, folder) = (port.number().to_string(), watched.folder().to_string_lossy().into_owned());
        let mut all = words(&["--port", &number, "--bind", "127.0.0.1", "--dir", &folder]);
        if kind == Kind::Node {
            all.extend(words(&["--save", "", "--appendonly", "no"]));
        }
        if let Some((files, port)) = &tls {
            all.extend(files.args(port.number()));
            all.extend(words(&["--tls-replication", "yes"]));
        }
        all.extend_from_slice(settings);
        watched.write(NAME, &lines(&all))?;
        let ready = match kind {
            Kind::Node => "eady to accept connections",
            Kind::Sentinel => "Sentinel ID is",
        };
        let process = RedisProcess::run(watched, port, ready).await?;
        Ok(process.with_tls(tls.map(|(_, port)| port)))
    })
    .await
}

const NAME: &str = "settings.conf";

pub(super) fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// The lines of a file: `--name` begins one.
fn lines(args: &[String]) -> String {
    let mut text = String::new();
    for word in args {
        match word.strip_prefix("--") {
            Some(name) if text.is_empty() => text.push_str(name),
            Some(name) => text.extend(["\n", name]),
            // Quoted as Redis reads it: an empty value too, and one with blanks.
            None => text.extend([" ", &format!("{word:?}")]),
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_become_lines() {
        let args = words(&["--port", "1", "--save", "", "--replicaof", "127.0.0.1", "2"]);
        assert_eq!(lines(&args), "port \"1\"\nsave \"\"\nreplicaof \"127.0.0.1\" \"2\"\n");
    }
}
