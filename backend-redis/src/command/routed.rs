//! Commands with the slot that they go to.

use redis::Cmd;

use super::slot::slot;

/// A command and its route.
#[derive(Debug, Clone)]
pub(crate) struct Routed {
    pub(crate) route: Route,
    pub(crate) command: Cmd,
}

/// Where a command goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Route {
    /// The slot of its keys; without one any node will do.
    pub(crate) slot: Option<u16>,
    /// Whether it is retried where its keys are split between two nodes (`TRYAGAIN`), because their slot is being moved.
    pub(crate) retry_split: bool,
}

impl Routed {
    /// A command on this key, and on others of its slot.
    pub(crate) fn new(key: &str, command: Cmd) -> Self {
        Self { route: Route { slot: Some(slot(key.as_bytes())), retry_split: true }, command }
    }

    /// A command for any node.
    pub(crate) fn anywhere(command: Cmd) -> Self {
        Self { route: Route { slot: None, retry_split: true }, command }
    }

    /// The same, but where its keys are split that is the reply.
    pub(crate) fn without_split_retry(mut self) -> Self {
        self.route.retry_split = false;
        self
    }

    /// `GET`, and not `MGET`, where a list at the key must be an error.
    pub(crate) fn get(key: &str) -> Self {
        Self::new(key, get(key))
    }
}

/// `GET` of a stored key.
pub(crate) fn get(key: &str) -> Cmd {
    let mut command = Cmd::with_capacity(2, key.len() + 3);
    command.arg("GET").arg(key);
    command
}
