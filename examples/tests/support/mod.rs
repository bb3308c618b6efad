//! The program, started by a test.

use std::process::Stdio;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

pub(crate) fn program(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_stanchion-examples"));
    command.args(arguments).stdin(Stdio::null()).kill_on_drop(true);
    for variable in ["REDIS_URL", "JWT_PRIVATE_KEY", "JWT_PUBLIC_KEY"] {
        command.env_remove(variable);
    }
    command
}

/// The program with `--serve`, once it has walked, and the ports on which it listens: of `auth-service`, then of `user-service`.
pub(crate) async fn serving(arguments: &[&str]) -> (Child, Vec<u16>) {
    let mut child = program(arguments).arg("--serve").stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut ports = Vec::new();
    while let Some(line) = lines.next_line().await.unwrap() {
        if line.starts_with("Listening until Ctrl-C") {
            break;
        }
        let port = line.split_once("  http://127.0.0.1:").and_then(|(_, port)| port.parse::<u16>().ok());
        ports.extend(port);
    }
    // It goes on printing.
    tokio::spawn(async move { lines.into_inner().read_to_end(&mut Vec::new()).await });
    assert_eq!(ports.len(), 2);
    for port in &ports {
        TcpStream::connect(("127.0.0.1", *port)).await.unwrap();
    }
    (child, ports)
}
