//! What becomes of calls, near copies, events and what was confirmed while a master of a Cluster is replaced by its replica.
//!
//! Each case has a Cluster of its own, since it breaks it: without a `redis-server` it is ignored with the reason, and red where
//! `CI` is set.

#![expect(clippy::unwrap_used, reason = "a test")]

mod commands;
mod events;
mod history;
#[macro_use]
mod support;
mod work;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let cases = cases! {
        commands::a_master_whose_bus_is_cut_has_not_the_last_word
        commands::a_killed_master_is_replaced
        commands::a_master_that_hung_is_not_gone_back_to
        commands::a_planned_failover_loses_nothing
        history::a_killed_master_loses_what_was_not_replicated_and_nothing_else
        history::a_planned_failover_loses_nothing_that_was_confirmed
        events::a_node_whose_bus_is_cut_is_left
        events::a_node_that_is_forgotten_is_left
    };
    let mut arguments = Arguments::from_args();
    // They wait more than they work; each has six servers.
    arguments.test_threads = arguments.test_threads.or(Some(3));
    libtest_mimic::run(&arguments, cases).exit_code()
}
