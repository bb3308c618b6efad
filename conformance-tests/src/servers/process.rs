//! A `redis-server` of the test's own.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use super::port::Port;
use super::watcher::Watched;
use super::{Link, Reply, ServerError, TlsFiles, link, wait};

/// How long a server may take to start, on a machine that is busy.
const START: Duration = Duration::from_secs(30);
/// How often another port is tried.
const ATTEMPTS: usize = 5;

/// A `redis-server` on a free port of 127.0.0.1 that keeps nothing on disk and ends with this value.
///
/// The binary is the one that `STANCHION_REDIS_SERVER` names, else `redis-server` on the `PATH`.
#[derive(Debug)]
pub struct RedisProcess {
    watched: Watched,
    port: Port,
    /// Where it speaks TLS as well.
    tls: Option<Port>,
    pid: AtomicU32,
    /// The words in its output by which it says that it serves.
    ready: &'static str,
    /// The password of its default user.
    password: Option<String>,
    paused: AtomicBool,
}

impl RedisProcess {
    /// Starts a server and waits until it answers.
    ///
    /// # Cancel safety
    /// Dropping the future ends what was started.
    pub async fn start() -> Result<Self, ServerError> {
        Self::start_with(&[]).await
    }

    /// As [`start`](Self::start), with further arguments such as `["--maxmemory", "10mb"]`.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_with(args: &[&str]) -> Result<Self, ServerError> {
        Self::start_binary(&binary()?, args).await
    }

    /// As [`start_with`](Self::start_with); it speaks TLS as well, on a port of its own.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_tls(files: &TlsFiles, args: &[&str]) -> Result<Self, ServerError> {
        let (binary, args) = (binary()?, args.iter().map(ToString::to_string));
        Self::launch_tls(&binary, files, |_| args.clone().collect()).await
    }

    /// Starts a server that speaks TLS as well, whatever ports are free.
    pub(super) async fn launch_tls(
        binary: &Path,
        files: &TlsFiles,
        args: impl Fn(&Port) -> Vec<String>,
    ) -> Result<Self, ServerError> {
        let args = &args;
        on_free_port(|port| async move {
            let tls = Port::claim()?;
            let all = |port: &Port| [files.args(tls.number()), args(port)].concat();
            let process = Self::launch(binary, port, all).await?;
            Ok(process.with_tls(Some(tls)))
        })
        .await
    }

    /// As [`start_with`](Self::start_with), of this binary.
    ///
    /// # Cancel safety
    /// As [`start`](Self::start).
    pub async fn start_binary(binary: &Path, args: &[&str]) -> Result<Self, ServerError> {
        on_free_port(|port| Self::launch(binary, port, |_| args.iter().map(ToString::to_string).collect()))
            .await
    }

    /// Starts a server on this port; `args` are made from the port.
    pub(super) async fn launch(
        binary: &Path,
        port: Port,
        args: impl FnOnce(&Port) -> Vec<String>,
    ) -> Result<Self, ServerError> {
        let args = args(&port);
        let number = port.number().to_string();
        let watched = Watched::new(|folder| {
            let folder = folder.to_string_lossy();
            let fixed = [
                "--port",
                &number,
                "--bind",
                "127.0.0.1",
                "--dir",
                &folder,
                "--save",
                "",
                "--appendonly",
                "no",
            ];
            std::iter::once(binary.to_path_buf())
                .chain(fixed.iter().map(PathBuf::from))
                .chain(args.iter().map(PathBuf::from))
                .collect()
        })?;
        Self::run(watched, port, "eady to accept connections").await
    }

    /// Starts what is watched and waits until it says that it serves.
    pub(super) async fn run(watched: Watched, port: Port, ready: &'static str) -> Result<Self, ServerError> {
        let process =
            Self { watched, port, tls: None, pid: 0.into(), ready, password: None, paused: false.into() };
        process.begin().await?;
        Ok(process)
    }

    /// It speaks TLS on this port too.
    pub(super) fn with_tls(self, port: Option<Port>) -> Self {
        Self { tls: port, ..self }
    }

    /// Its default user has this password; the harness gives it with each command.
    pub(super) fn with_password(self, password: Option<&String>) -> Self {
        Self { password: password.cloned(), ..self }
    }

    async fn begin(&self) -> Result<(), ServerError> {
        let pid = self.watched.start()?;
        self.pid.store(pid, Ordering::Relaxed);
        self.paused.store(false, Ordering::Relaxed);
        let what = format!("redis-server on port {}", self.port.number());
        let ready = wait::until(&what, START, || async {
            // Its own word first: something else may answer on this port.
            if self.watched.has_ended() {
                return Ok(false);
            }
            if !self.watched.output().contains(self.ready) {
                return Err(ServerError::new("it is not ready yet"));
            }
            // Any reply will do: it may want a password.
            link::ask(self.addr(), &["PING"]).await.map(|_| true)
        });
        if ready.await? {
            return Ok(());
        }
        let output = self.watched.output();
        let last: Vec<&str> = output.lines().rev().take(4).collect();
        Err(ServerError::new(format!("{what} ended at once: {}", last.join(" / "))))
    }

    /// `redis://127.0.0.1:port`
    pub fn url(&self) -> String {
        format!("redis://{}", self.addr())
    }

    /// `rediss://127.0.0.1:port` of a server that speaks TLS; of another one as [`url`](Self::url).
    pub fn tls_url(&self) -> String {
        self.tls.as_ref().map_or_else(|| self.url(), |port| format!("rediss://{}", port.addr()))
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.port.addr()
    }

    /// Its process id; after [`restart`](Self::restart) another one.
    pub fn pid(&self) -> u32 {
        self.pid.load(Ordering::Relaxed)
    }

    /// Ends it at once, as a crash does (SIGKILL), and waits until it is gone. It keeps its port.
    pub fn kill(&self) -> Result<(), ServerError> {
        self.watched.kill()
    }

    /// Kills it if it runs, and starts it again on the same port, empty.
    ///
    /// # Cancel safety
    /// Dropping the future may leave the server killed or starting; `restart` again.
    pub async fn restart(&self) -> Result<(), ServerError> {
        self.kill()?;
        self.begin().await
    }

    /// Makes it hang (SIGSTOP): connections stay open, nothing is answered until [`resume`](Self::resume).
    pub fn pause(&self) -> Result<(), ServerError> {
        self.paused.store(true, Ordering::Relaxed);
        self.watched.signal("STOP")
    }

    /// Lets it go on; what was sent meanwhile is then done.
    pub fn resume(&self) -> Result<(), ServerError> {
        self.paused.store(false, Ordering::Relaxed);
        self.watched.signal("CONT")
    }

    /// One command on a connection of its own, as its default user.
    ///
    /// # Cancel safety
    /// A dropped call may or may not have reached the server.
    pub async fn command(&self, words: &[&str]) -> Result<Reply, ServerError> {
        let mut link = Link::connect(self.addr()).await?;
        if let Some(password) = &self.password {
            link.ask(&["AUTH", password]).await?;
        }
        link.ask(words).await
    }

    /// As [`command`](Self::command); an error reply is an error.
    pub(super) async fn tell(&self, words: &[&str]) -> Result<Reply, ServerError> {
        link::accepted(self.addr(), words, self.command(words).await?)
    }

    /// Whether it answers: it was not killed, is not paused, and has not ended by itself.
    pub fn is_running(&self) -> bool {
        !self.watched.has_ended() && !self.paused.load(Ordering::Relaxed)
    }

    /// Its version, as `7.0.15`.
    ///
    /// # Cancel safety
    /// Reads only.
    pub async fn version(&self) -> Result<String, ServerError> {
        version(self.addr()).await
    }

    /// Where it listens for the other nodes of a Cluster.
    pub(super) fn bus_addr(&self) -> SocketAddr {
        SocketAddr::new(self.port.addr().ip(), self.port.bus())
    }

    /// By which other nodes of a Cluster, its replicas and sentinels reach it.
    pub(super) fn node_port(&self) -> &Port {
        self.tls.as_ref().unwrap_or(&self.port)
    }
}

/// Starts on a port that is free, and on another one if something that takes no heed of the claim was quicker.
pub(super) async fn on_free_port<F>(mut start: impl FnMut(Port) -> F) -> Result<RedisProcess, ServerError>
where
    F: Future<Output = Result<RedisProcess, ServerError>>,
{
    let mut failed = None;
    for _ in 0..ATTEMPTS {
        match start(Port::claim()?).await {
            Err(error) if error.to_string().contains("Address already in use") => failed = Some(error),
            done => return done,
        }
    }
    Err(failed.unwrap_or_else(|| ServerError::new("no port was free")))
}

/// What the server at this address says it is; a Valkey says so.
pub(super) async fn version(addr: SocketAddr) -> Result<String, ServerError> {
    if let Some(version) = link::info(addr, "valkey_version").await? {
        return Ok(format!("valkey {version}"));
    }
    let version = link::info(addr, "redis_version").await?;
    version.ok_or_else(|| ServerError::new(format!("{addr} does not say its version")))
}

/// The binary to start.
pub(super) fn binary() -> Result<PathBuf, ServerError> {
    find_binary(std::env::var_os("STANCHION_REDIS_SERVER").as_deref(), std::env::var_os("PATH").as_deref())
}

pub(super) fn find_binary(named: Option<&OsStr>, path: Option<&OsStr>) -> Result<PathBuf, ServerError> {
    if let Some(named) = named.filter(|named| !named.is_empty()) {
        let named = PathBuf::from(named);
        if named.is_file() {
            return Ok(named);
        }
        return Err(ServerError::new(format!(
            "STANCHION_REDIS_SERVER names {}, which is no file",
            named.display()
        )));
    }
    let folders = path.map(std::env::split_paths).into_iter().flatten();
    let found = folders.map(|folder| folder.join("redis-server")).find(|file| file.is_file());
    found.ok_or_else(|| ServerError::new("there is no redis-server on the PATH"))
}
