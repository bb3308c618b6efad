//! The Lua scripts: one atomic state change each, in one slot.
//!
//! They keep to what Redis 6.2 and Valkey 7.2 have. Every one checks types and arguments before it writes.

use crate::command::Script;

/// Each script with its file, and with the file of what stands in front of it, if several have that in common.
macro_rules! scripts {
    ($($name:ident = $file:literal $(after $($common:literal)+)?;)*) => {$(
        pub(crate) static $name: Script = {
            const SOURCE: &str = concat!($($(include_str!($common), "\n",)+)? include_str!($file));
            Script::new(SOURCE, || redis::Script::new(SOURCE).get_hash().to_owned())
        };
    )*

        /// Each with its file.
        const ALL: &[(&str, &Script)] = &[$(($file, &$name)),*];
    };
}

/// The name of the script with this hash: that of its file.
pub(crate) fn name_of_hash(hash: &[u8]) -> Option<&'static str> {
    name_of(|script| script.hash().as_bytes() == hash)
}

/// The name of the script with this source.
pub(crate) fn name_of_source(source: &[u8]) -> Option<&'static str> {
    name_of(|script| script.source().as_bytes() == source)
}

fn name_of(is: impl Fn(&Script) -> bool) -> Option<&'static str> {
    ALL.iter().find(|(_, script)| is(script)).and_then(|(file, _)| file.strip_suffix(".lua"))
}

scripts! {
    META = "meta.lua";
    META_CHANGE = "meta_change.lua";
    CACHE_READ = "cache_read.lua";
    CACHE_SET = "cache_set.lua";
    CACHE_REMOVE = "cache_remove.lua";
    CACHE_ADD = "cache_add.lua";
    CACHE_TOUCH = "cache_touch.lua";
    CACHE_TTL = "cache_ttl.lua";
    CACHE_FETCH = "cache_fetch.lua";
    CACHE_FILL = "cache_fill.lua";
    CACHE_RELEASE = "cache_release.lua";
    CACHE_GENERATION = "cache_generation.lua";
    CACHE_BUMP = "cache_bump.lua";
    CACHE_GENERATION_READ = "cache_generation_read.lua";
    CACHE_GENERATION_RAISE = "cache_generation_raise.lua";
    SESSION_CREATE = "session_create.lua" after "session_life.lua" "session_change.lua" "session_outbox.lua" "session_clear.lua";
    SESSION_OPEN = "session_open.lua" after "session_life.lua" "session_change.lua";
    SESSION_ROTATE = "session_rotate.lua" after "session_life.lua" "session_change.lua" "session_outbox.lua";
    SESSION_LOAD = "session_load.lua" after "session_life.lua";
    SESSION_USE = "session_use.lua" after "session_life.lua";
    SESSION_PATCH = "session_patch.lua" after "session_life.lua" "session_change.lua";
    SESSION_TOUCH = "session_touch.lua" after "session_life.lua";
    SESSION_DESTROY = "session_destroy.lua" after "session_life.lua" "session_change.lua" "session_outbox.lua";
    SESSION_LIST = "session_list.lua" after "session_life.lua" "session_outbox.lua" "session_clear.lua";
    SESSION_DESTROY_ALL = "session_destroy_all.lua" after "session_life.lua" "session_change.lua" "session_outbox.lua" "session_clear.lua";
    SESSION_INDEX = "session_index.lua";
    SESSION_RESERVE = "session_reserve.lua" after "session_life.lua";
    SESSION_ENTER = "session_enter.lua" after "session_life.lua";
    SESSION_CONFIRM = "session_confirm.lua" after "session_life.lua";
    SESSION_SUPERSEDE = "session_supersede.lua" after "session_life.lua" "session_change.lua" "session_outbox.lua";
    SESSION_BESIDE = "session_beside.lua" after "session_life.lua";
    SESSION_END = "session_end.lua" after "session_life.lua" "session_change.lua" "session_outbox.lua";
    SESSION_LEAVE = "session_leave.lua";
    SESSION_REAP = "session_reap.lua" after "session_life.lua" "session_outbox.lua";
    SESSION_DUE = "session_due.lua";
    SESSION_LEAD = "session_lead.lua";
    SESSION_OUTBOX_READ = "session_outbox_read.lua";
    SESSION_OUTBOX_ACK = "session_outbox_ack.lua";
    TOKEN_REVOKE = "token_revoke.lua";
    TOKEN_REVOKE_ALL = "token_revoke_all.lua";
    TOKEN_AGREE = "token_agree.lua";
    TOKEN_FLOOR = "token_floor.lua";
    TOKEN_CLAIM = "token_claim.lua";
    TOKEN_FAMILY_OPEN = "token_family_open.lua";
    TOKEN_FAMILY_ROTATE = "token_family_rotate.lua";
    TOKEN_FAMILY_END = "token_family_end.lua";
    LIMIT_PERMITS = "limit_permits.lua";
    LIMIT_ADD = "limit_add.lua";
    LIMIT_RESET = "limit_reset.lua";
    LIMIT_LEASE = "limit_lease.lua";
    LIMIT_GIVE_BACK = "limit_give_back.lua";
    LIMIT_ATTEMPT = "limit_attempt.lua" after "limit_failures.lua";
    LIMIT_SETTLE = "limit_settle.lua" after "limit_failures.lua";
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
        for (file, script) in ALL {
            let source = script.source();
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
