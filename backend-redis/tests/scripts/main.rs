//! What the conformance suite can't see, since it knows no Redis: what the scripts leave on the server.

#![expect(clippy::unwrap_used, reason = "a test")]

mod attempts;
mod cache;
mod ends;
mod expiry;
mod gcra;
mod outbox;
mod place;
mod rotating;
mod sessions;
mod spoilt;
mod stored;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Completion, Trial};
use stanchion_conformance::servers::{Absent, RedisServer, Topology};
use tokio::runtime::Runtime;
use tokio::sync::OnceCell;

use crate::attempts::attempts_count_as_failures_does;
use crate::cache::{
    a_generation_never_comes_back, a_lease_is_its_holders, a_schema_is_read_in_the_header,
    every_forgotten_script_is_sent_again, every_write_voids_the_lease,
};
use crate::ends::{a_floor_shows_that_everything_was_lost, strangers_write_nothing};
use crate::expiry::{a_reservation_expires_and_is_no_session, every_key_expires};
use crate::gcra::limits_count_as_usage_does;
use crate::outbox::{
    a_full_outbox_counts_what_it_does_not_take, what_ends_leaves_nothing,
    what_is_lost_is_counted_once_whoever_holds_a_page, what_is_noted_in_the_session_is_published_later,
    what_lives_is_looked_at_again_later,
};
use crate::place::Place;
use crate::rotating::{
    a_pointer_in_the_index_leads_on, a_session_that_is_being_rotated_is_left_alone_and_counted_once,
    nothing_is_confirmed_at_its_deadline, requests_between_two_steps_ask_again,
    the_end_of_all_ends_what_is_being_rotated,
};
use crate::sessions::{
    a_list_clears_away_what_has_ended, a_rotated_session_is_renamed, a_use_writes_only_where_it_is_due,
    what_was_stored_before_is_read,
};
use crate::spoilt::{a_spoilt_key_is_refused_and_left_alone, a_spoilt_session_blocks_nobody};
use crate::stored::{
    a_forgotten_script_is_sent_again, the_index_follows_its_sessions,
    thousands_of_fields_are_written_in_pieces, what_is_stored_is_the_wire_format,
};

/// The server for all cases, looked for by the first that runs.
type Shared = Arc<OnceCell<Result<RedisServer, Absent>>>;

fn case(
    name: &str,
    runtime: &Arc<Runtime>,
    server: &Shared,
    work: impl FnOnce(&Runtime, Place) + Send + 'static,
) -> Trial {
    let (runtime, server) = (Arc::clone(runtime), Arc::clone(server));
    Trial::ignorable_test(name, move || {
        match runtime.block_on(server.get_or_init(|| RedisServer::find(Topology::Standalone))) {
            Ok(server) => {
                let place = runtime.block_on(Place::open(&server.url()));
                work(&runtime, place);
                Ok(Completion::Completed)
            }
            Err(absent) if absent.fatal => Err(absent.to_string().into()),
            Err(absent) => Ok(Completion::ignored_with(absent)),
        }
    })
}

fn main() -> ExitCode {
    let (runtime, server) = (Arc::new(Runtime::new().unwrap()), Shared::default());
    let case = |name: &str, work: fn(&Runtime, Place)| case(name, &runtime, &server, work);
    let cases = vec![
        case("every_key_expires", |runtime, place| runtime.block_on(every_key_expires(place))),
        case("a_reservation_expires_and_is_no_session", |runtime, place| {
            runtime.block_on(a_reservation_expires_and_is_no_session(place));
        }),
        case("a_spoilt_key_is_refused_and_left_alone", |runtime, place| {
            runtime.block_on(a_spoilt_key_is_refused_and_left_alone(place));
        }),
        case("a_spoilt_session_blocks_nobody", |runtime, place| {
            runtime.block_on(a_spoilt_session_blocks_nobody(place));
        }),
        case("what_is_stored_is_the_wire_format", |runtime, place| {
            runtime.block_on(what_is_stored_is_the_wire_format(place));
        }),
        case("the_index_follows_its_sessions", |runtime, place| {
            runtime.block_on(the_index_follows_its_sessions(place));
        }),
        case("a_use_writes_only_where_it_is_due", |runtime, place| {
            runtime.block_on(a_use_writes_only_where_it_is_due(place));
        }),
        case("a_list_clears_away_what_has_ended", |runtime, place| {
            runtime.block_on(a_list_clears_away_what_has_ended(place));
        }),
        case("a_rotated_session_is_renamed", |runtime, place| {
            runtime.block_on(a_rotated_session_is_renamed(place));
        }),
        case("a_session_that_is_being_rotated_is_left_alone_and_counted_once", |runtime, place| {
            runtime.block_on(a_session_that_is_being_rotated_is_left_alone_and_counted_once(place));
        }),
        case("a_pointer_in_the_index_leads_on", |runtime, place| {
            runtime.block_on(a_pointer_in_the_index_leads_on(place));
        }),
        case("requests_between_two_steps_ask_again", |runtime, place| {
            runtime.block_on(requests_between_two_steps_ask_again(place));
        }),
        case("the_end_of_all_ends_what_is_being_rotated", |runtime, place| {
            runtime.block_on(the_end_of_all_ends_what_is_being_rotated(place));
        }),
        case("nothing_is_confirmed_at_its_deadline", |runtime, place| {
            runtime.block_on(nothing_is_confirmed_at_its_deadline(place));
        }),
        case("what_was_stored_before_is_read", |runtime, place| {
            runtime.block_on(what_was_stored_before_is_read(place));
        }),
        case("thousands_of_fields_are_written_in_pieces", |runtime, place| {
            runtime.block_on(thousands_of_fields_are_written_in_pieces(place));
        }),
        case("a_forgotten_script_is_sent_again", |runtime, place| {
            runtime.block_on(a_forgotten_script_is_sent_again(place));
        }),
        case("every_write_voids_the_lease", |runtime, place| {
            runtime.block_on(every_write_voids_the_lease(place));
        }),
        case("a_lease_is_its_holders", |runtime, place| runtime.block_on(a_lease_is_its_holders(place))),
        case("a_schema_is_read_in_the_header", |runtime, place| {
            runtime.block_on(a_schema_is_read_in_the_header(place));
        }),
        case("a_generation_never_comes_back", |runtime, place| {
            runtime.block_on(a_generation_never_comes_back(place));
        }),
        case("every_forgotten_script_is_sent_again", |runtime, place| {
            runtime.block_on(every_forgotten_script_is_sent_again(place));
        }),
        case("what_ends_leaves_nothing", |runtime, place| runtime.block_on(what_ends_leaves_nothing(place))),
        case("a_full_outbox_counts_what_it_does_not_take", |runtime, place| {
            runtime.block_on(a_full_outbox_counts_what_it_does_not_take(place));
        }),
        case("what_is_lost_is_counted_once_whoever_holds_a_page", |runtime, place| {
            runtime.block_on(what_is_lost_is_counted_once_whoever_holds_a_page(place));
        }),
        case("what_lives_is_looked_at_again_later", |runtime, place| {
            runtime.block_on(what_lives_is_looked_at_again_later(place));
        }),
        case("what_is_noted_in_the_session_is_published_later", |runtime, place| {
            runtime.block_on(what_is_noted_in_the_session_is_published_later(place));
        }),
        case("strangers_write_nothing", |runtime, place| runtime.block_on(strangers_write_nothing(place))),
        case("a_floor_shows_that_everything_was_lost", |runtime, place| {
            runtime.block_on(a_floor_shows_that_everything_was_lost(place));
        }),
        case("limits_count_as_usage_does", |runtime, place| limits_count_as_usage_does(runtime, &place)),
        case("attempts_count_as_failures_does", |runtime, place| {
            attempts_count_as_failures_does(runtime, &place);
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), cases).exit_code()
}
