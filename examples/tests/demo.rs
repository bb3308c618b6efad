//! The program from outside: what it prints, how it ends, and that nothing outlives it.
//!
//! Cases on a Redis are ignored without one, and red where `CI` is set.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::process::{ExitCode, Output};
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Failed, Trial};
use stanchion_conformance::servers::{RedisServer, Topology, until};
use tokio::net::TcpStream;
use tokio::process::Child;

use crate::support::{program, serving};

const SOON: Duration = Duration::from_secs(20);

async fn output(arguments: &[&str]) -> (Output, String, String) {
    let output = program(arguments).output().await.unwrap();
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    let (stdout, stderr) = (text(&output.stdout), text(&output.stderr));
    (output, stdout, stderr)
}

async fn walks(arguments: &[&str]) -> String {
    let (output, stdout, stderr) = output(arguments).await;
    assert!(output.status.success(), "{stdout}\n{stderr}");
    assert!(stdout.contains("expectations of 11 steps were met"), "{stdout}");
    assert!(stdout.ends_with("Both services have closed their stores.\n"), "{stdout}");
    assert_eq!(stderr, "");
    stdout
}

async fn the_walk_on_memory() {
    let stdout = walks(&[]).await;
    assert!(stdout.contains("cache misses: 1, hits: 1, loads: 1, database reads: 1"), "{stdout}");
}

async fn bad_arguments_are_shown_the_usage() {
    for arguments in
        [&["--nonsense"][..], &["auth-service"], &["user-service", "--redis", "u", "--port", "x"]]
    {
        let (output, _, stderr) = output(arguments).await;
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("Usage:"), "{stderr}");
    }
    let (help, stdout, _) = output(&["--help"]).await;
    assert!(help.status.success() && stdout.contains("Usage:"));
}

async fn a_redis_that_is_away_is_named_without_its_password() {
    // Nothing listens on port 1.
    let (output, _, stderr) = output(&["--redis", "redis://:hunter2@127.0.0.1:1"]).await;
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr.contains("127.0.0.1:1") && stderr.contains("user-service did not start"), "{stderr}");
    assert!(!stderr.contains("hunter2"), "{stderr}");
}

async fn nobody_listens(ports: &[u16]) {
    for port in ports {
        let refused = || async {
            match TcpStream::connect(("127.0.0.1", *port)).await {
                Ok(_) => Err("somebody listens"),
                Err(_) => Ok(()),
            }
        };
        until("the service has ended", SOON, refused).await.unwrap();
    }
}

fn signal(child: &Child, signal: &str) {
    let pid = child.id().unwrap().to_string();
    assert!(std::process::Command::new("kill").args([signal, &pid]).status().unwrap().success());
}

async fn serving_ends_in_order_at_ctrl_c() {
    let (mut child, ports) = serving(&[]).await;
    signal(&child, "-INT");
    assert!(child.wait().await.unwrap().success());
    nobody_listens(&ports).await;
}

async fn url(topology: Topology) -> Result<(RedisServer, String), Completion> {
    match RedisServer::find(topology).await {
        Ok(server) if topology == Topology::Cluster => {
            let url = server.urls()[0].replace("redis://", "redis+cluster://");
            Ok((server, url))
        }
        Ok(server) => {
            let url = server.urls()[0].clone();
            Ok((server, url))
        }
        Err(absent) if absent.fatal => panic!("{absent}"),
        Err(absent) => Err(Completion::ignored_with(absent.message)),
    }
}

async fn two_processes_on_a_redis() -> Result<(), Completion> {
    let (_server, url) = url(Topology::Standalone).await?;
    walks(&["--redis", &url]).await;
    // A second run on the same server meets nothing of the first.
    walks(&["--redis", &url]).await;
    Ok(())
}

async fn two_processes_on_a_cluster() -> Result<(), Completion> {
    let (_server, url) = url(Topology::Cluster).await?;
    walks(&["--redis", &url]).await;
    Ok(())
}

async fn both_processes_end_with_their_parent() -> Result<(), Completion> {
    let (_server, url) = url(Topology::Standalone).await?;
    let (mut child, ports) = serving(&["--redis", &url]).await;
    signal(&child, "-TERM");
    assert!(child.wait().await.unwrap().success());
    nobody_listens(&ports).await;

    let (mut child, ports) = serving(&["--redis", &url]).await;
    signal(&child, "-KILL");
    assert!(!child.wait().await.unwrap().success());
    nobody_listens(&ports).await;
    Ok(())
}

fn case<F, T>(name: &str, run: impl FnOnce() -> F + Send + 'static) -> Trial
where
    F: Future<Output = T>,
    T: Into<Outcome>,
{
    Trial::ignorable_test(name, move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
        runtime.block_on(run()).into().0
    })
}

/// How a case ended.
struct Outcome(Result<Completion, Failed>);

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self(Ok(Completion::Completed))
    }
}

impl From<Result<(), Completion>> for Outcome {
    fn from(ended: Result<(), Completion>) -> Self {
        Self(Ok(ended.err().unwrap_or(Completion::Completed)))
    }
}

fn main() -> ExitCode {
    let cases = vec![
        case("the_walk_on_memory", the_walk_on_memory),
        case("bad_arguments_are_shown_the_usage", bad_arguments_are_shown_the_usage),
        case(
            "a_redis_that_is_away_is_named_without_its_password",
            a_redis_that_is_away_is_named_without_its_password,
        ),
        case("serving_ends_in_order_at_ctrl_c", serving_ends_in_order_at_ctrl_c),
        case("two_processes_on_a_redis", two_processes_on_a_redis),
        case("two_processes_on_a_cluster", two_processes_on_a_cluster),
        case("both_processes_end_with_their_parent", both_processes_end_with_their_parent),
    ];
    libtest_mimic::run(&Arguments::from_args(), cases).exit_code()
}
