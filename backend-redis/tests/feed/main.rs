//! The invalidation feed: which changes are notified, and when a watcher learns that it may have missed one.
//!
//! All cases break servers and connections, so that each has a `redis-server` of its own. Without one they are
//! ignored, and red where `CI` is set.

#![expect(clippy::unwrap_used, reason = "a test")]

#[macro_use]
#[path = "../support/mod.rs"]
mod support;

mod broken;
mod bus;
mod cluster;
mod notified;
mod refused;
mod watched;

use std::process::ExitCode;

use libtest_mimic::Arguments;

fn main() -> ExitCode {
    let cases = cases! {
        notified:
            every_write_of_the_store_is_notified
            writes_by_others_are_notified
            expiry_is_notified
            a_flush_is_a_loss
            a_namespace_is_added_on_the_same_connection
            a_dropped_watch_is_not_notified;
        broken:
            a_killed_connection_is_a_loss_until_it_is_back
            a_server_that_dies_is_a_loss_until_it_is_back
            a_silent_connection_is_found_by_its_heartbeat
            a_missed_deadline_causes_a_heartbeat_at_once
            closing_is_a_loss;
        refused:
            without_tracking_a_watch_stays_lost
            without_the_channels_a_watch_stays_lost
            a_right_given_later_is_noticed;
        cluster:
            every_master_is_listened_to
            a_moved_slot_is_listened_to_where_it_is
            an_unknown_master_is_a_loss_before_it_answers
            a_dead_master_is_a_loss_of_its_shard_until_it_is_back
            on_the_bus_every_master_is_heard;
        bus:
            every_write_of_the_store_is_notified
            a_killed_connection_is_a_loss_until_it_is_back
            a_deployment_has_one_way
            a_record_without_the_field_means_tracking;
    };
    libtest_mimic::run(&Arguments::from_args(), cases).exit_code()
}
