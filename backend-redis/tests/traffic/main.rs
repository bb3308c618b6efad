//! What goes over the wire: how many commands in how many writes, and what becomes of those that share one.
//!
//! The cases look through proxies at servers of their own. Without a `redis-server` they are ignored, and red where
//! `CI` is set.

#![expect(clippy::unwrap_used, reason = "a test")]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod batches;
mod bulk;
mod gathered;
mod late;

use std::process::ExitCode;
use std::time::Duration;

use libtest_mimic::Arguments;
use stanchion::key::Key;
use stanchion::time::Ttl;

/// For machines with much else to do.
const TIMEOUT: Duration = Duration::from_secs(30);

fn key(id: impl stanchion::key::Identifier) -> Key {
    Key::new("cache", "user", id).unwrap()
}

fn ttl() -> Ttl {
    Ttl::new(Duration::from_mins(10)).unwrap()
}

fn main() -> ExitCode {
    let cases = cases! {
        batches:
            a_batch_is_one_write_per_master
            generations_take_one_trip;
        bulk:
            small_requests_do_not_wait_for_large_replies
            a_batch_has_time_while_it_comes
            a_silent_server_ends_a_batch
            each_master_has_connections_of_its_own;
        gathered:
            few_reads_go_out_one_by_one
            values_of_all_sizes_keep_to_themselves
            reads_that_timed_out_are_not_sent
            many_reads_share_a_write
            each_read_has_its_own_outcome
            without_the_right_to_gather_reads_go_on
            one_denied_key_does_not_end_gathering
            a_dropped_caller_takes_nothing_from_others
            a_lost_connection_is_everybodys_error
            a_silent_server_is_a_timeout_for_all
            closing_leaves_nobody_waiting
            on_a_cluster_each_master_gathers_its_own
            redirects_are_followed;
        late:
            each_has_its_whole_deadline;
    };
    libtest_mimic::run(&Arguments::from_args(), cases).exit_code()
}
