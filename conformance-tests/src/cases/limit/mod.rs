//! Limits.

mod attempts;
mod in_flight;
mod more;
mod permits;

use super::{process, rules, wall_clock};
use crate::Outcome;

use std::time::Duration;

use stanchion::key::Key;
use stanchion::limit::{Decision, Tier, TierStatus};

const HOUR: Duration = Duration::from_hours(1);

fn key(subject: &str) -> Outcome<Key> {
    Ok(Key::new("rate_limit", "case", subject)?)
}
fn hourly(n: u32) -> Outcome<Tier> {
    Ok(Tier::new(n, HOUR)?)
}
fn remaining(standings: &[TierStatus]) -> Vec<u32> {
    standings.iter().map(|standing| standing.remaining).collect()
}
fn allowed(decision: &Decision) -> Option<Vec<u32>> {
    match decision {
        Decision::Allowed { tiers, .. } => Some(remaining(tiers)),
        _ => None,
    }
}

rules! {
    "LIMIT-01" Must "The whole burst may be taken at once, and no permit more." => [
        "burst::is_given_at_once_and_no_more": permits::a_burst_is_given_at_once_and_no_more,
        "burst::race_gives_no_permit_twice": permits::a_race_gives_no_permit_twice,
    ];
    "LIMIT-02" Must "What is denied is not charged." => ["deny::is_not_charged": permits::what_is_denied_is_not_charged];
    "LIMIT-03" Must "Permits are taken from every tier or from none." => ["tiers::all_or_none": permits::all_tiers_or_none];
    "LIMIT-04" Must "retry_after is that of the tier that is exhausted for longest, and the same request is allowed after it." => [
        "deny::longest_wait_is_told": permits::the_longest_wait_is_told,
        "deny::allowed_after_retry_after": permits::after_retry_after_the_same_request_is_allowed,
    ];
    "LIMIT-05" Must "A cost over a burst is told apart from a denial, and takes nothing." => [
        "cost::over_the_burst": permits::more_than_the_burst_can_never_be_had,
    ];
    "LIMIT-06" Must "peek tells the standing and takes nothing." => ["peek::takes_nothing": permits::peek_takes_nothing];
    "LIMIT-07" Must "A cost of zero is allowed and takes nothing." => ["cost::zero": permits::a_cost_of_zero_takes_nothing];
    "LIMIT-08" Must "A refund gives back what it says, to at most the burst." => [
        "refund::at_most_the_burst": permits::a_refund_gives_back_at_most_the_burst,
    ];
    "LIMIT-09" Must "Subjects, and limits of different periods of one subject, stay apart." => [
        "isolation::subjects_and_tiers": permits::subjects_and_tiers_stay_apart,
    ];
    "LIMIT-10" Must "No tier, more than eight, and the same one twice are refused." => [
        "input::bad_tiers_are_refused": permits::bad_tiers_are_refused,
    ];
    "LIMIT-11" Must "Fractions of a microsecond are kept, so that n permits take a period and no more." => [
        "burst::fractions_are_kept": permits::fractions_of_a_microsecond_are_kept,
    ];
    "LIMIT-12" Must "Permits come back evenly: within any span there are no more than the burst and what came back in it, and no fewer." => [
        "burst::comes_back_evenly": permits::permits_come_back_evenly,
    ];
    "LIMIT-13" Must "Places stay apart." => ["isolation::places": permits::places_stay_apart];
    "LIMIT-14" Must "A dropped check takes permits from every tier or from none." => [
        "cancel::all_tiers_or_none": permits::a_dropped_check_takes_from_every_tier_or_from_none,
    ];
    "LIMIT-15" Must "A limit gives its burst to all processes together, and no permit more." => [
        "process::one_burst_for_all": process::limit::a_burst_is_for_all_together,
    ];
    "LIMIT-16" Must "A step back of the store's wall clock gives no permits, and one forth no more than a burst." => [
        "wall_clock::back_gives_nothing": wall_clock::limit::a_step_back_gives_nothing,
        "wall_clock::forth_gives_a_burst_at_most": wall_clock::limit::a_step_forth_gives_a_burst_at_most,
    ];
    "LIMIT-17" Must "A step back of the store's wall clock denies for no longer than the limit itself would." => [
        "wall_clock::back_denies_for_a_burst_at_most":
            wall_clock::limit::a_step_back_denies_for_a_burst_at_most,
    ];
    "LIMIT-18" Must "take_up_to takes what every tier has, at most what is asked for, and says how much." => [
        "up_to::takes_what_there_is": more::as_many_as_there_are_are_taken,
        "up_to::race_gives_no_permit_twice": more::a_race_for_as_many_as_there_are_gives_none_twice,
    ];
    "LIMIT-19" Must "A change of limit keeps what was used: moving between limits of one period gives no more than the greatest of them." => [
        "change::gives_the_greatest_at_most": more::a_change_gives_the_greatest_at_most,
        "change::to_less_waits_for_the_lesser": more::a_change_to_less_waits_for_the_lesser,
    ];
    "LIMIT-20" Must "A reset forgets what was used of every tier, and nothing of other subjects." => [
        "reset::forgets_all_of_a_subject": more::a_reset_forgets_all_of_a_subject,
    ];
    "LIMIT-21" Must "Added permits are taken where a tier has too few, each once, and end when it was said." => [
        "add::taken_where_a_tier_has_too_few": more::added_permits_are_taken_once,
        "add::end_when_it_was_said": more::added_permits_end,
        "add::too_many_are_refused": more::too_many_added_permits_are_refused,
    ];
    "LIMIT-22" Must "A quota gives its permits once in a window of its calendar, by the store's clock, and together with other tiers or not at all." => [
        "quota::once_in_a_window": more::a_quota_is_given_once_in_a_window,
        "quota::windows_are_those_of_the_calendar": more::windows_are_those_of_the_calendar,
        "quota::with_other_tiers": more::a_quota_is_taken_with_other_tiers_or_not,
    ];
    "LIMIT-23" Must "No more than so many leases are in flight; what is given back or has ended is free, and what has ended is not renewed." => [
        "in_flight::no_more_than_said": in_flight::no_more_than_said,
        "in_flight::race": in_flight::a_race_lets_in_no_more_than_said,
        "in_flight::ends_by_itself": in_flight::a_lease_ends_by_itself,
        "in_flight::each_for_its_own_life": in_flight::a_lease_lasts_for_its_own_life,
        "in_flight::given_back_once": in_flight::a_place_is_given_back_by_its_holder_once,
        "in_flight::bad_numbers_are_refused": in_flight::bad_numbers_are_refused,
    ];
    "LIMIT-24" Must "Attempts count as failed from before they are made: of any number at once no more are admitted than may fail." => [
        "attempts::race": attempts::a_race_is_no_more_than_a_row,
        "attempts::sources_and_keys_stay_apart": attempts::sources_and_keys_stay_apart,
    ];
    "LIMIT-25" Must "Lock-outs grow, end when it was said, and are remembered." => [
        "attempts::lock_outs_grow": attempts::lock_outs_grow,
    ];
    "LIMIT-26" Must "What succeeds or is withdrawn counts nowhere, and ends no more than its own lock-out." => [
        "attempts::success_clears": attempts::a_success_clears,
        "attempts::withdrawn": attempts::what_is_withdrawn_counts_nowhere,
    ];
    "LIMIT-27" Must "A source that has succeeded is admitted while all others are locked out, and only to its own number." => [
        "attempts::known_sources": attempts::a_known_source_is_not_locked_out_by_others,
        "attempts::known_sources_are_kept": attempts::strangers_displace_no_known_source,
    ];
    "LIMIT-28" Must "An administrator lifts all lock-outs of a key, and known sources stay known." => [
        "attempts::unlock": attempts::an_administrator_unlocks,
    ];
    "LIMIT-29" Must "What is refused writes nothing: strangers neither grow nor prolong anything." => [
        "attempts::refused_costs_nothing": attempts::what_is_refused_prolongs_nothing,
    ];
    "LIMIT-30" Must "After a step back of the store's wall clock places and lock-outs last for no longer than they would without." => [
        "wall_clock::back_holds_places_for_a_lease_at_most":
            wall_clock::limit::a_step_back_holds_places_for_a_lease_at_most,
        "wall_clock::back_locks_out_for_the_longest_at_most":
            wall_clock::limit::a_step_back_locks_out_for_the_longest_at_most,
    ];
    "LIMIT-31" Must "A source has a name of 1 to 512 bytes; any other is refused, and nothing is counted." => [
        "attempts::sources_have_names": attempts::sources_have_names,
    ];
}
