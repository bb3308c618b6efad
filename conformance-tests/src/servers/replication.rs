//! Whether a replica has what its master has.

use super::ServerError;
use super::process::RedisProcess;

/// One field of `INFO replication`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix(':'))
}

async fn info(node: &RedisProcess) -> Result<String, ServerError> {
    Ok(node.tell(&["INFO", "replication"]).await?.text())
}

/// The port of its master, as it reaches it; none of a master.
pub(super) async fn master_port(node: &RedisProcess) -> Result<Option<u16>, ServerError> {
    let info = info(node).await?;
    match field(&info, "role") {
        Some("master") => Ok(None),
        // By the word of one kind of server or the other.
        Some("slave" | "replica") => {
            let port = field(&info, "master_port").and_then(|port| port.parse().ok());
            port.map(Some).ok_or_else(|| ServerError::new(format!("a replica of nobody: {info}")))
        }
        role => Err(ServerError::new(format!("{} has the role {role:?}", node.addr()))),
    }
}

/// Whether the replica is connected and has everything that the master had done when it was asked.
pub(super) async fn in_sync(master: &RedisProcess, replica: &RedisProcess) -> Result<(), ServerError> {
    let offset = |info: &str, name| field(info, name).and_then(|offset| offset.parse::<u64>().ok());
    let wanted = offset(&info(master).await?, "master_repl_offset");
    let info = info(replica).await?;
    if field(&info, "master_link_status") != Some("up") {
        return Err(ServerError::new(format!("{} is not connected to its master", replica.addr())));
    }
    let has = offset(&info, "slave_repl_offset");
    if has.is_some() && has >= wanted {
        return Ok(());
    }
    Err(ServerError::new(format!("{} has {has:?} of {wanted:?}", replica.addr())))
}
