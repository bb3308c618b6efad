//! A child that outlives nobody.
//!
//! A server is not started by the test process but by a small shell that the test process holds by a pipe.
//! Whatever becomes of the test process, a panic, `exit`, SIGKILL, the pipe closes, and the shell then kills
//! the server and removes its folder. (The kernel's parent-death signal would fire at the end of the *thread*
//! that started the child, and tests come and go on threads.) The shell is in a process group of its own, so
//! that a signal meant for the whole group of the test finds it alive.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

use super::ServerError;

/// Runs `"$@"`, whose output goes to `$dir/output`. `$dir/ended` is there once the server has ended.
const SERVER: &str = r#"
trap '' INT HUP TERM QUIT
dir=$1; shift
end() {
  # Started, but not yet so far as to have written its pid.
  while [ -e "$dir/begun" ] && [ ! -s "$dir/pid" ]; do sleep 0.02; done
  if [ -s "$dir/pid" ] && [ ! -e "$dir/ended" ]; then kill -KILL "$(cat "$dir/pid")" 2>/dev/null; fi
  wait
  rm -f "$dir/begun" "$dir/pid"
}
while read -r word; do
  case $word in
    start)
      rm -f "$dir/ended" "$dir/pid"; : >"$dir/begun"
      {
        sh -c 'echo $$ >"$0/pid"; echo $$ >&3; exec "$@" 3>&-' "$dir" "$@" </dev/null >"$dir/output" 2>&1
        : >"$dir/ended"
      } 3>&1 & ;;
    kill) end; echo killed ;;
    *) kill -"$word" "$(cat "$dir/pid")" 2>/dev/null; echo sent ;;
  esac
done
end
rm -rf "$dir"
"#;

/// Removes a container once the pipe closes.
const CONTAINER: &str = r#"
trap '' INT HUP TERM QUIT
while read -r word; do :; done
for engine in docker podman; do
  if command -v "$engine" >/dev/null 2>&1 && "$engine" rm -f -v "$1" >/dev/null 2>&1; then exit 0; fi
done
"#;

#[derive(Debug)]
struct Shell {
    child: Child,
    // `None` once it is closed.
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Shell {
    fn spawn(script: &str, args: &[&Path]) -> std::io::Result<Self> {
        let mut child = Command::new("/bin/sh")
            .arg("-c")
            .arg(script)
            .arg("stanchion-watcher")
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let input = child.stdin.take();
        let output = child.stdout.take().ok_or_else(|| std::io::Error::other("no pipe"))?;
        Ok(Self { child, input, output: BufReader::new(output) })
    }

    fn say(&mut self, word: &str) -> std::io::Result<()> {
        let input = self.input.as_mut().ok_or_else(|| std::io::Error::other("closed"))?;
        writeln!(input, "{word}")?;
        input.flush()
    }

    fn ask(&mut self, word: &str) -> std::io::Result<String> {
        self.say(word)?;
        let mut line = String::new();
        match self.output.read_line(&mut line)? {
            0 => Err(std::io::Error::other("the watcher has ended")),
            _ => Ok(line.trim().to_owned()),
        }
    }
}

impl Drop for Shell {
    fn drop(&mut self) {
        self.input = None;
        // It ends by itself now: it kills what it started and waits for that.
        let _ = self.child.wait();
    }
}

/// A server process, its folder, and the shell that ends both.
#[derive(Debug)]
pub(super) struct Watched {
    shell: Mutex<Shell>,
    folder: PathBuf,
}

impl Watched {
    /// Makes the folder and the shell; nothing runs yet. `command` is given the folder.
    pub(super) fn new(command: impl FnOnce(&Path) -> Vec<PathBuf>) -> Result<Self, ServerError> {
        let folder = folder().map_err(ServerError::of("no folder for a server"))?;
        let command = command(&folder);
        let mut args = vec![folder.as_path()];
        args.extend(command.iter().map(PathBuf::as_path));
        let shell = Shell::spawn(SERVER, &args).map_err(ServerError::of("no /bin/sh to watch a server"));
        match shell {
            Ok(shell) => Ok(Self { shell: Mutex::new(shell), folder }),
            Err(error) => {
                let _ = std::fs::remove_dir_all(&folder);
                Err(error)
            }
        }
    }

    /// Writes a file into its folder.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<(), ServerError> {
        let path = self.folder.join(name);
        std::fs::write(&path, text).map_err(ServerError::of(format!("{} was not written", path.display())))
    }

    /// Where it keeps its files; gone with this value.
    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts the server; answers its process id. It must not be running.
    pub(super) fn start(&self) -> Result<u32, ServerError> {
        let started = self.with(|shell| shell.ask("start")?.parse().map_err(std::io::Error::other));
        started.map_err(ServerError::of("the server was not started"))
    }

    /// Sends SIGKILL and waits for the end.
    pub(super) fn kill(&self) -> Result<(), ServerError> {
        self.with(|shell| shell.ask("kill")).map(drop).map_err(ServerError::of("the server was not killed"))
    }

    /// Sends a signal by its name.
    pub(super) fn signal(&self, name: &str) -> Result<(), ServerError> {
        self.with(|shell| shell.ask(name))
            .map(drop)
            .map_err(ServerError::of(format!("SIG{name} was not sent")))
    }

    /// Whether the server has ended, by itself or not.
    pub(super) fn has_ended(&self) -> bool {
        self.folder.join("ended").exists()
    }

    /// What the server has written since its last start.
    pub(super) fn output(&self) -> String {
        let bytes = std::fs::read(self.folder.join("output")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn with<T>(&self, act: impl FnOnce(&mut Shell) -> std::io::Result<T>) -> std::io::Result<T> {
        act(&mut self.shell.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Removes a container if nobody else did. Needs the engine's command; without one, only the ordinary end of
/// the owner removes it.
#[derive(Debug)]
pub(super) struct ContainerWatch(#[expect(dead_code, reason = "held for its end")] Shell);

impl ContainerWatch {
    pub(super) fn new(id: &str) -> std::io::Result<Self> {
        Shell::spawn(CONTAINER, &[Path::new(id)]).map(Self)
    }
}

/// A new folder, of a name that no other process and no other call has.
fn folder() -> std::io::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("stanchion-redis-{}-{next}", std::process::id()));
        match std::fs::create_dir(&folder) {
            Ok(()) => return Ok(folder),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
}
