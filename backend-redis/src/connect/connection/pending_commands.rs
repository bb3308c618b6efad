//! Commands of one caller, who gets all replies together.

use redis::{PushKind, RedisResult, Value};

use super::end::End;
use super::incoming::Incoming;
use super::progress::Progress;
use super::request::{Commands, Expected};

pub(super) struct PendingCommands {
    commands: Commands,
    values: Vec<Value>,
}

impl PendingCommands {
    /// `None` where no reply is expected: then the caller has an empty one already.
    pub(super) fn new(commands: Commands) -> Option<Self> {
        let values = match commands.expected {
            Expected::Values(0) | Expected::Confirmations(0) => {
                commands.caller.reply(Ok(Vec::new()));
                return None;
            }
            Expected::Values(count) => Vec::with_capacity(count),
            Expected::Confirmations(_) => Vec::new(),
        };
        Some(Self { commands, values })
    }

    pub(super) fn read_reply(&mut self, incoming: &mut Incoming) -> RedisResult<Option<Progress>> {
        let Some(value) = incoming.value()? else { return Ok(None) };
        self.values.push(value);
        let done = match &mut self.commands.expected {
            Expected::Values(left) => {
                *left -= 1;
                *left == 0
            }
            // An error in place of all that were to come.
            Expected::Confirmations(_) => true,
        };
        Ok(Some(Progress { replied: usize::from(done), done }))
    }

    /// Takes a pushed message; answers whether it is the last confirmation that was waited for.
    pub(super) fn confirm(&mut self, kind: &PushKind) -> bool {
        match (&mut self.commands.expected, kind) {
            (Expected::Confirmations(left), PushKind::Subscribe | PushKind::Unsubscribe) => {
                *left -= 1;
                *left == 0
            }
            _ => false,
        }
    }

    /// Hands the replies to the caller.
    pub(super) fn reply(self) {
        self.commands.caller.reply(Ok(self.values));
    }

    pub(super) fn fail(self, end: &End, sent: bool) {
        let why = end.error(self.commands.access, sent);
        self.commands.caller.reply(Err(why));
    }
}
