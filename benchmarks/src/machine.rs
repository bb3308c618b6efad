//! What the figures were taken on.

use std::fs;

/// The processor, how many, the memory and the kernel, as far as the system says.
pub(crate) fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let model = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let memory = field("/proc/meminfo", "MemTotal").unwrap_or_else(|| "unknown memory".to_owned());
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!("{cores} × {model}, {memory}, {} {}", std::env::consts::OS, kernel.trim())
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The versions of crates, from the lock file of this build.
pub(crate) fn versions(crates: &[&str]) -> String {
    let lock = include_str!("../../Cargo.lock");
    let found = crates.iter().map(|name| {
        // Several versions of one crate may be locked; the first is the one this workspace names.
        let version = lock
            .split("[[package]]")
            .find_map(|package| package.strip_prefix(&format!("\nname = \"{name}\"\nversion = \"")))
            .and_then(|rest| rest.split('"').next())
            .unwrap_or("?");
        format!("{name} {version}")
    });
    found.collect::<Vec<_>>().join(", ")
}
