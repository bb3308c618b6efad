//! The names of commands for spans and durations.

use redis::{Arg, Cmd, Pipeline};

use crate::scripts;

/// The commands that this backend sends for its callers, each with its name in a pipeline of the same.
macro_rules! names {
    ($($name:literal,)*) => {
        const NAMES: &[(&str, &str)] = &[$(($name, concat!("PIPELINE ", $name))),*];
    };
}

names! { "ASKING", "CLUSTER", "EVAL", "EVALSHA", "GET", "PUBLISH", "UNLINK", }

/// One command, or several that are sent together: nothing of what is in them but their names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::connect) struct Operation {
    /// As in `db.operation.name`.
    pub(super) name: &'static str,
    /// How many commands, if there are several.
    pub(super) batch: Option<usize>,
    /// The script, if it is one script.
    pub(super) script: Option<&'static str>,
}

impl Operation {
    /// The read of one key, which may be sent with others of other callers.
    pub(in crate::connect) const GET: Self = Self { name: "GET", batch: None, script: None };

    /// Every name that an operation can have.
    pub(super) fn names() -> impl Iterator<Item = &'static str> {
        NAMES.iter().flat_map(|(alone, several)| [*alone, *several]).chain(["PIPELINE"])
    }

    pub(in crate::connect) fn of(command: &Cmd) -> Self {
        Self { name: names(command).0, batch: None, script: script(command) }
    }

    pub(in crate::connect) fn of_all(pipeline: &Pipeline) -> Self {
        let mut commands = pipeline.cmd_iter();
        let Some(first) = commands.next() else {
            return Self { name: "PIPELINE", batch: Some(0), script: None };
        };
        if pipeline.len() == 1 {
            return Self::of(first);
        }
        let (names_of_first, script_of_first) = (names(first), script(first));
        let (mut same_name, mut same_script) = (true, true);
        for command in commands {
            same_name &= names(command) == names_of_first;
            same_script &= script(command) == script_of_first;
        }
        Self {
            name: if same_name { names_of_first.1 } else { "PIPELINE" },
            batch: Some(pipeline.len()),
            script: script_of_first.filter(|_| same_script),
        }
    }
}

/// The name of a command, alone and in a pipeline.
fn names(command: &Cmd) -> (&'static str, &'static str) {
    let name = word(command, 0).unwrap_or_default();
    let found = NAMES.iter().find(|names| names.0.as_bytes() == name);
    found.copied().unwrap_or(("_OTHER", "PIPELINE _OTHER"))
}

fn word(command: &Cmd, at: usize) -> Option<&[u8]> {
    match command.args_iter().nth(at)? {
        Arg::Simple(word) => Some(word),
        _ => None,
    }
}

fn script(command: &Cmd) -> Option<&'static str> {
    let script = word(command, 1)?;
    match word(command, 0)? {
        b"EVALSHA" => scripts::name_of_hash(script),
        b"EVAL" => scripts::name_of_source(script),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::get;
    use crate::scripts::{CACHE_READ, LOCK_RENEW};

    fn pipeline(commands: impl IntoIterator<Item = Cmd>) -> Operation {
        let mut pipeline = Pipeline::new();
        for command in commands {
            pipeline.add_command(command);
        }
        Operation::of_all(&pipeline)
    }

    #[test]
    fn an_operation_is_named_by_its_commands_and_its_script() {
        let keys = ["k"];
        let read = || CACHE_READ.with(&keys, &[]).first(0).command;
        let read_by_source = CACHE_READ.with(&keys, &[]).first_by_source(0).command;
        let by_hash = Operation { name: "EVALSHA", batch: None, script: Some("cache_read") };
        assert_eq!(Operation::of(&read()), by_hash);
        assert_eq!(Operation::of(&read_by_source), Operation { name: "EVAL", ..by_hash });
        assert_eq!(Operation::of(&get("k")), Operation::GET);
        assert_eq!(pipeline([read()]), by_hash, "one is no batch");
        let several = Operation { name: "PIPELINE EVALSHA", batch: Some(2), script: Some("cache_read") };
        assert_eq!(pipeline([read(), read()]), several);
        let renew = LOCK_RENEW.with(&keys, &[]).first(0).command;
        assert_eq!(pipeline([read(), renew]), Operation { script: None, ..several });
        let mixed = Operation { name: "PIPELINE", batch: Some(2), script: None };
        assert_eq!(pipeline([redis::cmd("ASKING"), get("k")]), mixed);
    }

    #[test]
    fn what_is_in_a_command_is_not_in_its_name() {
        let name = "secret";
        let operation = Operation::of(&redis::cmd(name));
        assert_eq!(operation, Operation { name: "_OTHER", batch: None, script: None });
    }
}
