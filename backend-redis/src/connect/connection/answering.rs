//! Commands of one caller, who gets all replies together.

use redis::{PushKind, RedisResult, Value};
use stanchion::Error;

use super::asked::Taken;
use super::incoming::Incoming;
use super::request::{Commands, Expected};
use crate::error::Access;

pub(super) struct Answering {
    commands: Commands,
    values: Vec<Value>,
}

impl Answering {
    /// Unless nothing is expected: then they are answered already.
    pub(super) fn new(commands: Commands) -> Option<Self> {
        let values = match commands.expected {
            Expected::Values(0) | Expected::Confirmations(0) => {
                let _ = commands.reply.send(Ok(Vec::new()));
                return None;
            }
            Expected::Values(count) => Vec::with_capacity(count),
            Expected::Confirmations(_) => Vec::new(),
        };
        Some(Self { commands, values })
    }

    pub(super) fn take(&mut self, incoming: &mut Incoming) -> RedisResult<Option<Taken>> {
        let Some(value) = incoming.value()? else { return Ok(None) };
        self.values.push(value);
        let done = match &mut self.commands.expected {
            Expected::Values(left) => {
                *left -= 1;
                *left == 0
            }
            // In place of all that were to come.
            Expected::Confirmations(_) => true,
        };
        Ok(Some(Taken { answers: usize::from(done), done }))
    }

    /// A message was pushed; answers whether it was the last that was waited for.
    pub(super) fn confirm(&mut self, kind: &PushKind) -> bool {
        match (&mut self.commands.expected, kind) {
            (Expected::Confirmations(left), PushKind::Subscribe | PushKind::Unsubscribe) => {
                *left -= 1;
                *left == 0
            }
            _ => false,
        }
    }

    pub(super) fn answer(self) {
        // Nobody minds one who left.
        let _ = self.commands.reply.send(Ok(self.values));
    }

    pub(super) fn fail(self, why: impl Fn(Access) -> Error) {
        let _ = self.commands.reply.send(Err(why(self.commands.access)));
    }
}
