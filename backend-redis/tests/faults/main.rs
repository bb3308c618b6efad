//! What becomes of calls when the server, the connection or what is stored is broken.
//!
//! Each case has a server of its own, since it breaks it: without a `redis-server` it is ignored with the reason,
//! and red where `CI` is set. Cases on a scripted server always run.

#![expect(clippy::unwrap_used, reason = "a test")]

mod acl;
mod cluster;
mod cluster_map;
mod codes;
mod connect;
mod copies;
mod credentials;
mod deployment;
mod elsewhere;
mod failover;
mod hung;
mod layout;
mod locks;
mod lost_reply;
mod masters;
mod nonsense;
mod open_slot;
mod open_slot_news;
mod open_slot_rotation;
mod operations;
mod outage;
mod pair;
mod refused;
mod refused_setting;
mod runtimes;
mod settings;
mod shards;
mod slow_link;
mod split;
mod stored;
mod subscriptions;
#[macro_use]
mod support;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// A case on scripted servers alone.
fn scripted<F: Future<Output = ()>>(name: &str, run: impl FnOnce() -> F + Send + 'static) -> Trial {
    Trial::ignorable_test(name, move || support::completed(run()))
}

macro_rules! scripted {
    ($($module:ident::$name:ident)*) => {
        vec![$(scripted(concat!(stringify!($module), "::", stringify!($name)), $module::$name),)*]
    };
}

fn main() -> ExitCode {
    // First those that take long, so that they don't come last and alone.
    let mut cases = cases! {
        cluster::a_killed_master_keeps_nobody_from_the_others
        shards::of_the_keys_of_living_masters_none_is_loaded
        shards::with_a_near_cache_too
        copies::one_master_away_is_not_missed_and_two_are
        copies::what_one_holds_alone_is_answered_for_good
        copies::what_one_has_lost_the_others_hold
        copies::each_master_holds_one
        cluster::a_cluster_without_a_master_is_down_and_comes_back
        cluster::a_moving_slot_is_followed_with_nothing_done_twice
        cluster::a_migrating_slot_is_served_where_the_key_is
        cluster::a_moved_slot_costs_a_batch_a_round_for_its_keys
        open_slot::no_limit_is_exceeded_and_no_end_is_undone
        open_slot::sessions_go_on
        open_slot::no_rotation_gets_past_the_end_of_all
        open_slot_rotation::a_session_that_is_rotated_is_found_by_all
        open_slot::locks_go_on
        open_slot_news::come_once_and_in_order
        open_slot::limits_and_tokens_go_on
        open_slot::what_has_to_wait_for_the_slot_waits_until_its_deadline
        acl::a_cluster_is_served_too
        acl::nothing_else_is_let_in
        lost_reply::on_a_cluster
        outage::acknowledged_additions_are_there_on_a_cluster
        outage::acknowledged_additions_are_there
        outage::a_killed_server_fails_fast_and_recovers
        outage::a_half_open_connection_times_out_and_is_noticed
        outage::an_idle_half_open_connection_is_noticed_by_its_heartbeat
        outage::a_hanging_server_times_out_and_goes_on
        locks::a_short_outage_keeps_the_lock_and_a_long_one_loses_it
        locks::a_lost_reply_to_a_renewal_keeps_the_lock
        subscriptions::an_outage_is_reported_and_events_flow_again
        subscriptions::on_a_cluster_another_node_takes_over
        subscriptions::a_lost_confirmation_leaves_no_subscription
        subscriptions::a_denied_channel_ends_its_own_subscriptions
        subscriptions::a_denied_channel_keeps_no_first_subscription_from_another
        failover::a_refused_write_is_enough_to_follow_it
        failover::a_demoted_master_is_not_read_from
        failover::a_replica_is_not_connected_to
        failover::without_a_master_calls_fail_until_there_is_one
        elsewhere::all_follow_the_commands
        elsewhere::all_follow_the_invalidations
        elsewhere::the_feed_is_down_until_it_is_where_commands_are
        elsewhere::all_follow_the_subscriptions
        elsewhere::all_follow_the_commands_without_a_name_too
        deployment::a_node_of_a_cluster_is_no_standalone_server
        deployment::a_standalone_server_is_no_node_of_a_cluster
        connect::a_server_that_comes_up_is_waited_for
        connect::a_server_that_is_loading_is_waited_for
        connect::wrong_credentials_are_denied_at_once
        connect::missing_rights_are_denied_at_once
        connect::too_many_clients_are_reported
        connect::a_lost_reply_while_connecting_is_another_attempt
        layout::another_layout_names_both_values
        layout::a_cluster_of_the_first_layout_is_refused
        layout::services_that_connect_at_once_agree
        layout::a_hashing_key_is_rotated_while_services_run
        lost_reply::on_one_server
        settings::a_user_without_a_password_is_that_user_or_refused
        settings::connections_are_named_by_what_they_are_for
        credentials::each_connection_is_made_with_the_password_of_now
        credentials::connections_that_live_are_authenticated_anew_in_time
        credentials::what_is_refused_until_it_has_ended_is_given_up
        credentials::a_provider_that_is_away_ends_no_connection
        credentials::a_provider_that_is_broken_is_said_without_its_words
        credentials::a_password_is_rotated_by_hand
        credentials::what_may_have_been_taken_is_made_anew
        credentials::on_a_cluster_each_node_is_authenticated_anew
        refused::out_of_memory
        refused::a_script_that_loops
        refused::a_read_only_replica
        refused::a_replica_without_its_master
        refused::a_server_that_is_loading
        refused::a_server_that_forgets_scripts
        refused_setting::a_disk_that_fails
        refused_setting::too_few_replicas
        refused_setting::a_password_that_is_new
        refused_setting::rights_that_are_withdrawn
        refused_setting::rights_that_end_inside_a_script
        runtimes::a_backend_whose_runtime_has_ended_says_so
        runtimes::a_cluster_whose_runtime_has_ended_says_so
        runtimes::where_the_runtime_is_not_driven_calls_end_and_say_so
        slow_link::a_connection_that_is_busy_is_not_given_up
        stored::undecodable_values_are_misses
        stored::undecodable_fields_and_counters_are_errors
        stored::another_type_at_a_cache_key_is_left_as_it_is
        stored::bytes_that_are_no_text_are_no_session
        stored::a_message_that_is_no_event_is_reported
    };
    cases.extend(scripted! {
        acl::the_commands_are_those_that_are_sent
        codes::every_code_on_every_operation
        codes::nothing_is_sent_twice
        codes::no_answer_is_a_timeout
        codes::the_handshake_is_refused
        cluster::redirects_are_bounded
        deployment::a_sentinel_is_neither
        deployment::a_role_that_hello_does_not_say
        deployment::a_master_that_says_it_is_read_only
        cluster_map::subscriptions_leave_a_node_that_is_cut_off
        cluster_map::subscriptions_leave_a_node_that_has_left_the_cluster
        cluster_map::while_nothing_changes_several_are_asked_with_pauses
        cluster_map::a_redirect_to_a_silent_master_ends_a_batch_soon
        cluster_map::a_master_that_is_replaced_behind_its_address_is_left
        cluster_map::the_newest_map_is_taken_whoever_is_asked_first
        cluster_map::without_the_right_to_ask_for_nodes_the_majority_decides
        hung::a_redirect_to_a_silent_address_delays_no_other
        hung::a_new_master_that_hangs_keeps_no_later_map
        hung::a_new_master_of_the_sentinels_that_hangs_is_left
        hung::subscriptions_that_one_node_refuses_are_begun_at_another
        connect::nobody_listens
        connect::a_server_without_resp3_is_refused_at_once
        connect::loading_is_tried_again_and_attempts_are_counted
        split::the_lease_is_voided_first_and_then_the_entry_changed
        split::a_script_that_is_not_known_goes_by_its_source
        split::an_entry_whose_lease_is_not_voided_stays
        settings::what_is_out_of_bounds_is_refused_before_anything_is_opened
        settings::the_library_is_said_without_waiting
        nonsense::no_reply_is_trusted
        nonsense::no_slot_map_is_trusted
    });
    let mut arguments = Arguments::from_args();
    // They wait more than they work.
    arguments.test_threads = arguments.test_threads.or(Some(6));
    libtest_mimic::run(&arguments, cases).exit_code()
}
