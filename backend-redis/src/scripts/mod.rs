//! The Lua scripts: one atomic state change each, in one slot.
//!
//! They keep to what Redis 6.2 and Valkey 7.2 have. Every one checks types and arguments before it writes.

use std::sync::LazyLock;

use redis::Cmd;

/// A script, by its source and its hash.
pub(crate) struct Script {
    source: &'static str,
    hash: LazyLock<String>,
}

impl Script {
    const fn new(source: &'static str, hash: fn() -> String) -> Self {
        Self { source, hash: LazyLock::new(hash) }
    }

    fn command(name: &str, script: &str, keys: &[&str], args: &[&[u8]]) -> Cmd {
        let mut command = redis::cmd(name);
        command.arg(script).arg(keys.len());
        for key in keys {
            command.arg(*key);
        }
        for arg in args {
            command.arg(*arg);
        }
        command
    }

    /// `EVALSHA`: what is usually sent.
    pub(crate) fn by_hash(&self, keys: &[&str], args: &[&[u8]]) -> Cmd {
        Self::command("EVALSHA", &self.hash, keys, args)
    }

    /// `EVAL`: runs the script and teaches the server its hash.
    pub(crate) fn by_source(&self, keys: &[&str], args: &[&[u8]]) -> Cmd {
        Self::command("EVAL", self.source, keys, args)
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
    CACHE_ADD = "cache_add.lua";
    CACHE_SET_IF = "cache_set_if.lua";
    CACHE_TOUCH = "cache_touch.lua";
    CACHE_TTL = "cache_ttl.lua";
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
