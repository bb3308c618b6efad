//! Sessions.

mod anonymous;
mod apart;
mod bounds;
mod common;
mod create;
mod data;
mod end;
mod feed;
mod input;
mod life;
mod limit;
mod list;
mod outbox;
mod patch;
mod replace;
mod rotate;
mod used;

use super::{process, rules, wall_clock};

rules! {
    "SESSION-01" Must "A session is loaded as it was created, through every handle." => [
        "create::loaded_as_created": create::a_session_is_loaded_as_it_was_created,
    ];
    "SESSION-02" Must "An id that is taken is refused as such, and nothing changes." => ["create::taken_id": create::a_taken_id_is_told];
    "SESSION-03" Must "A patch changes the fields that it names and no others, and adds one to the version." => [
        "patch::only_what_it_names": patch::a_patch_changes_what_it_names_and_no_more,
    ];
    "SESSION-04" Must "A patch that expects another version changes nothing, and tells the version." => [
        "patch::conflict": patch::a_patch_on_an_old_version_changes_nothing,
    ];
    "SESSION-05" Must "Of any number of patches of one version at once one is saved; of blind patches none is lost." => [
        "patch::race": patch::of_a_race_to_patch_a_version_one_wins,
    ];
    "SESSION-06" Must "What was ended stays ended: no use brings it back." => ["destroy::stays_gone": end::what_was_destroyed_stays_destroyed];
    "SESSION-07" Must "A session ends at its idle deadline." => ["timeout::idle": life::a_session_ends_when_it_is_idle];
    "SESSION-08" Must "A touch and a patch move the idle deadline, and loading does not." => ["timeout::use_keeps_alive": life::use_keeps_a_session_alive];
    "SESSION-09" Must "No use moves the absolute deadline." => ["timeout::absolute": life::no_use_moves_the_absolute_deadline];
    "SESSION-10" Must "A user's live sessions are listed, the newest first; of two created in one instant the newer is the one that was created later." => [
        "list::newest_first": list::a_users_sessions_are_listed_newest_first,
        "list::created_in_one_instant": list::sessions_of_one_instant_are_in_order,
    ];
    "SESSION-11" Must "All sessions of a user but one are ended at once." => ["destroy::all_but_one": end::all_but_one_are_ended];
    "SESSION-12" Must "Reject: a session over the limit is refused, and changes nothing." => ["limit::reject": limit::a_limit_rejects];
    "SESSION-13" Must "EvictOldest: the oldest by creation make room." => ["limit::evict_oldest": limit::a_limit_evicts_the_oldest];
    "SESSION-14" Must "EvictLeastRecent: those used longest ago make room." => ["limit::evict_least_recent": limit::a_limit_evicts_the_least_recent];
    "SESSION-15" Must "No race exceeds a limit." => ["limit::race": limit::no_race_exceeds_a_limit];
    "SESSION-16" Must "What has ended does not count towards a limit." => ["limit::ended_do_not_count": limit::what_has_ended_does_not_count];
    "SESSION-17" Must "Services stay apart." => ["isolation::services": apart::services_stay_apart];
    "SESSION-18" Must "Users stay apart, whatever their ids hold." => ["isolation::users": apart::users_stay_apart];
    "SESSION-19" Must "A limit out of bounds, an id of another user, a bad user id and too much data are refused." => [
        "input::bad_arguments": input::bad_arguments_are_refused,
    ];
    "SESSION-20" Must "Places stay apart." => ["isolation::places": apart::places_stay_apart];
    "SESSION-21" Must "Of any number of calls at once that end a session, one is answered that it did." => [
        "destroy::race_tells_one": end::of_a_race_to_end_a_session_one_is_told,
    ];
    "SESSION-22" Must "A dropped create leaves no session, or the whole one, listed and loaded." => [
        "cancel::done_or_not_done": create::a_dropped_create_is_done_or_not_done,
    ];
    "SESSION-23" Must "No creates of several processes exceed a limit." => ["process::limit_is_kept": process::session::no_limit_is_exceeded];
    "SESSION-24" Must "Sessions are in the order of their creation, also when the store's wall clock is set back or forth." => [
        "wall_clock::order_is_by_creation": wall_clock::session::order_is_by_creation,
    ];
    "SESSION-25" Must "A step of the store's wall clock prolongs no session by more than the step." => [
        "wall_clock::lives_after_a_step_back": wall_clock::session::lives_after_a_step_back,
        "wall_clock::lives_after_a_step_forth": wall_clock::session::lives_after_a_step_forth,
    ];
    "SESSION-26" Must "A use answers the session, and is recorded if the last recorded one is as old as the session's interval, and else not." => [
        "use::recorded_when_due": used::a_use_is_recorded_when_it_is_due,
    ];
    "SESSION-27" Must "A session lives for its idle timeout after every use, recorded or not, and ends an interval later." => [
        "use::idle_time_is_never_shortened": used::unrecorded_use_shortens_no_idle_time,
    ];
    "SESSION-28" Must "Through a handle with bounds a session ends at the lesser of what is stored and these, for every method." => [
        "bounds::idle": bounds::a_stricter_idle_timeout_ends_sessions_that_live,
        "bounds::absolute": bounds::a_stricter_absolute_timeout_ends_sessions_that_live,
        "bounds::own_timeouts": bounds::timeouts_of_its_own_have_bounds_of_their_own,
    ];
    "SESSION-29" Must "What a session holds is bounded in total, by its bytes and its fields; so is what one call removes." => [
        "data::bytes": data::what_a_session_holds_is_bounded_in_total,
        "data::fields": data::the_number_of_fields_is_bounded,
        "data::removed_names": data::names_to_be_removed_are_bounded,
    ];
    "SESSION-30" Must "A create ends all that are over its limit, also where that was higher before, and answers which." => [
        "limit::lowered": limit::a_lower_limit_ends_the_surplus,
    ];
    "SESSION-31" Must "A list says of each session what is known of its device, as it was created or patched." => [
        "list::devices": list::a_list_shows_the_devices,
    ];
    "SESSION-32" Must "An anonymous session is loaded, used, changed and ended like any other; it has no user, is in no list, and counts towards no limit." => [
        "anonymous::of_nobody": anonymous::a_session_of_nobody_is_like_any_and_in_no_list,
    ];
    "SESSION-33" Must "A session of the user whose place a new one takes ends in the same step and does not count; not if it has changed or goes on under another id, and never another user's." => [
        "replace::own": replace::the_session_that_is_replaced_ends_and_does_not_count,
        "replace::conflict": replace::a_session_that_changed_is_not_replaced,
        "replace::rotated": replace::a_session_that_was_rotated_is_not_replaced_by_its_old_id,
        "replace::another_users": replace::nobody_takes_the_place_of_another_user,
    ];
    "SESSION-34" Must "A rotated session goes on under its new id, with its fields, its absolute deadline and its place in the list, and is counted once." => [
        "rotate::goes_on": rotate::a_session_goes_on_under_another_id,
    ];
    "SESSION-35" Must "Of any number of rotations of one session at once one is done, and the others are answered by which." => [
        "rotate::race": rotate::of_a_race_to_rotate_one_wins,
    ];
    "SESSION-36" Must "For the grace the old id leads to the session, also through further rotations, and then never again." => [
        "rotate::grace_leads_on": rotate::the_old_id_leads_on_for_the_grace,
        "rotate::kept_by_its_old_id": rotate::the_old_id_is_kept_with_its_session,
        "rotate::grace_ends": rotate::the_grace_ends,
    ];
    "SESSION-37" Must "What is another user's, has another version, is gone, or would hold too much, is not rotated." => [
        "rotate::refused": rotate::what_may_not_be_rotated_is_not,
    ];
    "SESSION-60" Must "A watcher is notified of every change of a session in its service but by time, through any handle." => [
        "feed::changes": feed::each_change_is_notified,
    ];
    "SESSION-61" Must "A watcher is notified of nothing of another service, and of nothing once its watch is dropped." => [
        "feed::is_of_one_service": feed::a_watch_is_of_one_service,
    ];
    "SESSION-62" Must "A record says in how much time its next use is due to be recorded." => [
        "use::due_is_said": feed::a_record_says_when_its_use_is_due,
    ];
    "SESSION-50" Must "What happens to a published session is appended to the outbox of its user, in order, with its reason; and nothing of other sessions." => [
        "outbox::what_happens": outbox::what_happens_is_appended,
        "outbox::rotated_and_replaced": outbox::another_id_and_another_session_are_appended,
    ];
    "SESSION-51" Must "An entry of an outbox stays until it is acknowledged, whoever has read it." => [
        "outbox::stays_until_acknowledged": outbox::what_is_read_stays_until_it_is_acknowledged,
    ];
    "SESSION-52" Must "A published session that ended by time is found once by whoever reaps, with its user, also where nobody was there at its end; and it is in no index." => [
        "outbox::timed_out_unseen": outbox::an_end_by_time_is_found_by_whoever_looks,
    ];
    "SESSION-53" Must "A session that was used is not reaped, and stays in the index." => [
        "outbox::used_is_not_reaped": outbox::what_was_used_is_not_reaped,
    ];
    "SESSION-54" Must "An outbox is one publisher's at a time, until its claim is over or nothing is left." => [
        "outbox::claim": outbox::an_outbox_is_one_publishers_at_a_time,
    ];
    "SESSION-55" Must "One publisher has the right to reap for a service, until its lease is over." => [
        "outbox::lead": outbox::one_publisher_reaps_at_a_time,
    ];
    "SESSION-56" Must "A limit of zero or over the bounds is refused by the outbox, which takes more entries than a page." => [
        "outbox::bad_limits": outbox::bad_limits_are_refused,
    ];
    "SESSION-57" Must "What happens to a session reaches subscribers, also an end by time." => [
        "outbox::reaches_subscribers": outbox::ends_reach_subscribers,
    ];
}
