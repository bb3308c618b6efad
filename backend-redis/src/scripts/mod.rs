//! The Lua scripts: one atomic state change each, in one slot.
//!
//! They keep to what Redis 6.2 and Valkey 7.2 have. Every one checks types and arguments before it writes.

use std::sync::LazyLock;

use redis::Cmd;

use crate::connect::Routed;

/// A script, by its source and its hash.
pub(crate) struct Script {
    source: &'static str,
    hash: LazyLock<String>,
}

/// How a script is named to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `EVALSHA`: what is usually sent.
    Hash,
    /// `EVAL`: runs the script and teaches the server its hash.
    Source,
}

impl Script {
    const fn new(source: &'static str, hash: fn() -> String) -> Self {
        Self { source, hash: LazyLock::new(hash) }
    }

    /// The command that runs it.
    pub(crate) fn command(&self, form: Form, keys: &[&str], args: &[&[u8]]) -> Cmd {
        let (name, script) = match form {
            Form::Hash => ("EVALSHA", self.hash.as_str()),
            Form::Source => ("EVAL", self.source),
        };
        let bytes = script.len()
            + keys.iter().map(|key| key.len()).sum::<usize>()
            + args.iter().map(|arg| arg.len()).sum::<usize>();
        let mut command = Cmd::with_capacity(3 + keys.len() + args.len(), bytes + 16);
        command.arg(name).arg(script).arg(keys.len());
        for key in keys {
            command.arg(*key);
        }
        for arg in args {
            command.arg(*arg);
        }
        command
    }

    /// The command, and the slot of its first key.
    pub(crate) fn routed(&self, form: Form, keys: &[&str], args: &[&[u8]]) -> Routed {
        let command = self.command(form, keys, args);
        match keys.first() {
            Some(key) => Routed::new(key, command),
            None => Routed::anywhere(command),
        }
    }
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {$(
        pub(crate) static $name: Script =
            Script::new(include_str!($file), || redis::Script::new(include_str!($file)).get_hash().to_owned());
    )*

        #[cfg(test)]
        const ALL: &[(&str, &str)] = &[$(($file, include_str!($file))),*];
    };
}

scripts! {
    META = "meta.lua";
    CACHE_READ = "cache_read.lua";
    CACHE_SET = "cache_set.lua";
    CACHE_REMOVE = "cache_remove.lua";
    CACHE_ADD = "cache_add.lua";
    CACHE_TOUCH = "cache_touch.lua";
    CACHE_TTL = "cache_ttl.lua";
    CACHE_FETCH = "cache_fetch.lua";
    CACHE_FILL = "cache_fill.lua";
    CACHE_ABANDON = "cache_abandon.lua";
    CACHE_GENERATION = "cache_generation.lua";
    CACHE_BUMP = "cache_bump.lua";
    SESSION_CREATE = "session_create.lua";
    SESSION_LOAD = "session_load.lua";
    SESSION_PATCH = "session_patch.lua";
    SESSION_TOUCH = "session_touch.lua";
    SESSION_DESTROY = "session_destroy.lua";
    SESSION_LIST = "session_list.lua";
    SESSION_DESTROY_ALL = "session_destroy_all.lua";
    TOKEN_REVOKE = "token_revoke.lua";
    TOKEN_REVOKE_ALL = "token_revoke_all.lua";
    LIMIT_CHECK = "limit_check.lua";
    LIMIT_REFUND = "limit_refund.lua";
    LOCK_ACQUIRE = "lock_acquire.lua";
    LOCK_RENEW = "lock_renew.lua";
    LOCK_RELEASE = "lock_release.lua";
    LOCK_INSPECT = "lock_inspect.lua";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_script_says_what_it_takes_and_uses_no_newer_feature() {
        for (file, source) in ALL {
            assert!(source.starts_with("-- "), "{file} has no header");
            for heading in ["KEYS", "ARGV", "Replies"] {
                assert!(source.contains(heading), "the header of {file} says nothing of {heading}");
            }
            for newer in ["#!lua", "PEXPIRETIME", "'KEYS'", "'SCAN'", "FLUSH", "os.time"] {
                assert!(!source.contains(newer), "{file} uses {newer}");
            }
        }
    }
}
