//! A master that sentinels watch over: how it is found, and what becomes of calls, near copies and events when it is replaced.
//!
//! Each case has servers of its own, since it breaks them: without a `redis-server` it is ignored with the reason, and red where
//! `CI` is set.

#![expect(clippy::unwrap_used, reason = "a test")]

mod connect;
mod failover;
mod service;
#[macro_use]
mod support;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let cases = cases! {
        failover::by_command_everything_goes_on_at_the_new_master
        failover::a_killed_master_is_replaced_for_everything
        failover::a_master_that_hung_is_not_gone_back_to
        failover::a_sentinel_that_is_lost_is_not_missed
        failover::while_nothing_is_called_the_switch_is_heard
        connect::one_sentinel_leads_to_the_master_and_to_the_others
        connect::a_name_that_no_sentinel_knows_is_refused
        connect::sentinels_that_are_away_are_each_named
        connect::a_server_is_no_sentinel
        connect::master_and_sentinels_have_passwords_of_their_own
    };
    let mut arguments = Arguments::from_args();
    // They wait more than they work; each has six servers.
    arguments.test_threads = arguments.test_threads.or(Some(3));
    libtest_mimic::run(&arguments, cases).exit_code()
}
