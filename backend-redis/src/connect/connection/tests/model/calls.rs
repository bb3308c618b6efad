//! The calls of a sequence.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use redis::{Cmd, Pipeline};
use stanchion::key::Key;

use super::DEADLINE;
use super::caller::{Answer, Wish};
use super::replies;
use super::requests::{self, name};
use super::step::{Action, Patience};
use super::world::World;
use crate::connect::connection::Connection;
use crate::connect::connection::late::within;
use crate::connect::progress::while_it_comes;
use crate::error::Access;

impl World {
    /// One who calls, and is not run yet.
    pub(super) fn call(&mut self, action: &Action) -> Result<(), String> {
        match *action {
            Action::Send { commands, size, writes, patience } => self.send(commands, size, writes, patience),
            Action::Subscribe { channels, begins, patience } => self.subscribe(channels, begins, patience),
            Action::Read { keys, deadline } => (0..keys).try_for_each(|_| self.read(deadline)),
            Action::Heartbeat => self.heartbeat(),
            _ => Ok(()),
        }
    }

    fn send(&mut self, commands: usize, size: usize, writes: bool, patience: Patience) -> Result<(), String> {
        let Some(connection) = self.connection.clone() else { return Ok(()) };
        let caller = self.callers.len();
        let access = if writes { Access::Write } else { Access::Read };
        let mut pipeline = Pipeline::with_capacity(commands);
        for at in 0..commands {
            pipeline.add_command(set(caller, at, size));
        }
        let packed = pipeline.get_packed_pipeline();
        let future = async move {
            let send = || async {
                if commands == 1 {
                    let command = set(caller, 0, size);
                    return connection.raw_command(&command, access).await.map(|value| vec![value]);
                }
                connection.pipeline(&pipeline, access).await
            };
            let send = || async { send().await.map(Answer::Values) };
            patiently(&connection, patience, access, send).await
        };
        self.calls(Wish::Commands { packed, replies: commands, access }, patience, future.boxed_local())
    }

    fn subscribe(&mut self, count: usize, begins: bool, patience: Patience) -> Result<(), String> {
        let Some(connection) = self.connection.clone() else { return Ok(()) };
        let caller = self.callers.len();
        let channels: Vec<_> = (0..count).map(|at| name(caller, at)).collect();
        let command = if begins { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
        let packed = redis::cmd(command).arg(&channels).get_packed_command();
        let future = async move {
            let send = || async {
                let changed = if begins {
                    connection.subscribe(&channels).await
                } else {
                    connection.unsubscribe(&channels).await
                };
                changed.map(|()| Answer::Done)
            };
            patiently(&connection, patience, Access::Read, send).await
        };
        self.calls(Wish::Channels { packed }, patience, future.boxed_local())
    }

    fn read(&mut self, deadline: u64) -> Result<(), String> {
        let Some(connection) = self.connection.clone() else { return Ok(()) };
        let key = Key::new("cache", "t", requests::key(self.callers.len())).map_err(|why| why.to_string())?;
        let future = async move {
            let found = connection.get(&key, Duration::from_millis(deadline)).await;
            Answer::of(found, |found| Answer::Found(found.map(|bytes| bytes.to_vec())))
        };
        self.calls(Wish::Read, Patience::Deadline(deadline), future.boxed_local())
    }

    fn heartbeat(&mut self) -> Result<(), String> {
        let Some(connection) = self.connection.clone() else { return Ok(()) };
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(set(self.callers.len(), 0, 0));
        let packed = pipeline.get_packed_pipeline();
        let context = Arc::clone(&self.context);
        let future =
            async move { Answer::of(connection.heartbeat(&pipeline, &context).await, Answer::Values) };
        let patience = Patience::Extended(u64::try_from(DEADLINE.as_millis()).unwrap_or(u64::MAX));
        let wish = Wish::Commands { packed, replies: 1, access: Access::Read };
        self.calls(wish, patience, future.boxed_local())
    }
}

fn set(caller: usize, at: usize, size: usize) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg(name(caller, at)).arg(replies::filled("v", size));
    command
}

/// As operations wait for their requests.
async fn patiently<F: Future<Output = stanchion::Result<Answer>>>(
    connection: &Connection,
    patience: Patience,
    access: Access,
    send: impl FnOnce() -> F,
) -> Answer {
    let same = |answer| answer;
    match patience {
        Patience::Forever => Answer::of(send().await, same),
        Patience::Deadline(time) => match within(Duration::from_millis(time), send).await {
            Ok(outcome) => Answer::of(outcome, same),
            Err(late) => Answer::Late(late),
        },
        Patience::Extended(silence) => {
            let silence = Duration::from_millis(silence);
            Answer::of(while_it_comes(connection, silence, access, send).await, same)
        }
    }
}
