//! Runs the program that counts allocations. It is one of its own because its allocator, which counts, would slow
//! down everything that is timed here.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::Failure;

const NAME: &str = "stanchion-allocations";

/// What was counted, per hit: by the cache that was read, and how.
pub(super) async fn counted() -> Result<Vec<(String, String, f64)>, Failure> {
    let program = program().await?;
    let output = Command::new(&program).arg("--json").stderr(Stdio::inherit()).output().await?;
    if !output.status.success() {
        return Err(format!("{}: {}", program.display(), output.status).into());
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

/// The program beside this one, built first where cargo runs this.
async fn program() -> Result<PathBuf, Failure> {
    if let Some(cargo) = std::env::var_os("CARGO") {
        let mut build = Command::new(cargo);
        build.current_dir(Path::new(env!("CARGO_MANIFEST_DIR"))).args(["build", "--quiet", "--bin", NAME]);
        if !cfg!(debug_assertions) {
            build.arg("--release");
        }
        if !build.status().await?.success() {
            return Err(format!("{NAME} can't be built").into());
        }
    }
    let program = std::env::current_exe()?.with_file_name(NAME);
    if program.is_file() { Ok(program) } else { Err(format!("{NAME} is not built").into()) }
}
