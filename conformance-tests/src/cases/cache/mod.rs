//! Cached values.

mod batch;
mod common;
mod counter;
mod fill;
mod generation;
mod isolation;
mod lease;
mod load;
mod schema;
mod ttl;
mod value;
mod watch;

pub(crate) use self::load::engine as near_engine;
use super::{process, rules, wall_clock};

rules! {
    "CACHE-01" Must "A value that was set is read back through every handle, until it is set again." => [
        "value::is_read_back_by_every_handle": value::a_value_is_read_back_by_every_handle,
    ];
    "CACHE-02" Must "Any bytes are a value, the empty ones too." => ["value::any_bytes": value::any_bytes_are_a_value];
    "CACHE-03" Must "A value may be as large as declared; a larger one, alone or in a batch, is refused before anything changes." => [
        "value::size_cap": value::a_value_may_be_as_large_as_declared_and_no_larger,
    ];
    "CACHE-04" Must "A batch over the declared bound is refused before anything changes." => [
        "batch::bound": batch::a_batch_over_the_bound_changes_nothing,
    ];
    "CACHE-05" Must "Values are answered in the order of the keys, also for a key that is asked for twice." => [
        "batch::order": batch::batches_answer_in_the_order_of_the_keys,
    ];
    "CACHE-06" Must "An empty batch is no error." => ["batch::empty": batch::an_empty_batch_is_no_error];
    "CACHE-07" Must "Of a key given twice in a batch the last value holds." => ["batch::last_holds": batch::the_last_of_a_key_given_twice_holds];
    "CACHE-08" Must "Removing counts the distinct keys that held something, and removes no others." => [
        "remove::counts_what_was_there": value::removing_counts_what_was_there,
    ];
    "CACHE-09" Must "Absent: set only if the key holds nothing." => ["when::absent": value::set_if_absent];
    "CACHE-10" Must "Present: set only if the key holds something." => ["when::present": value::set_if_present];
    "CACHE-11" Must "Equals: set only if the key holds exactly these bytes." => ["when::equals": value::compare_and_set];
    "CACHE-12" Must "Of any number of conditional sets at once, one is stored." => ["when::race_has_one_winner": value::of_a_race_to_set_one_wins];
    "CACHE-13" Must "An entry is gone at its deadline, for every operation." => ["ttl::gone_at_deadline": ttl::a_value_is_gone_at_its_deadline];
    "CACHE-14" Must "An entry is there until its deadline." => ["ttl::there_until_deadline": ttl::a_value_is_there_until_its_deadline];
    "CACHE-15" Must "What is left of a TTL is answered, and nothing for what is not there." => ["ttl::is_told": ttl::the_ttl_is_told];
    "CACHE-16" Must "The shortest and the longest life are kept." => ["ttl::extremes": ttl::the_shortest_and_longest_lives_are_kept];
    "CACHE-17" Must "A set that is stored gives a new life; one that is not changes none." => [
        "ttl::set_gives_a_new_life": ttl::a_set_gives_a_new_life,
        "ttl::not_stored_changes_none": ttl::a_set_that_was_not_stored_changes_no_life,
    ];
    "CACHE-18" Must "A touch gives a new life, and creates nothing." => ["ttl::touch": ttl::a_touch_gives_a_new_life_and_creates_nothing];
    "CACHE-19" Must "A counter starts at zero, and is stored as its decimal text." => ["counter::is_text": counter::a_counter_starts_at_zero_and_is_text];
    "CACHE-20" Must "No addition is lost, whatever runs beside it." => ["counter::race_loses_nothing": counter::no_addition_is_lost];
    "CACHE-21" Must "A counter lives from its first addition." => ["counter::window": counter::a_counter_lives_from_its_first_addition];
    "CACHE-22" Must "A sum outside i64 is refused, and leaves the counter as it was." => ["counter::range": counter::a_counter_keeps_its_range];
    "CACHE-23" Must "What is no decimal number, written as add writes it (no plus, no leading zero, no blank), is refused by add, and left as it was." => ["counter::no_number": counter::what_is_no_number_is_left_alone];
    "CACHE-24" Must "Different identifiers never share an entry, whatever they hold." => ["isolation::keys": isolation::keys_stay_apart_whatever_they_hold];
    "CACHE-25" Must "Places stay apart." => [
        "isolation::places": isolation::places_stay_apart,
        "isolation::places_of_leases": isolation::leases_of_places_stay_apart,
        "isolation::places_of_generations": isolation::generations_of_places_stay_apart,
        "isolation::places_of_watches": watch::nothing_is_told_of_other_places,
    ];
    "CACHE-26" Must "A dropped call is either not done or wholly done, and disturbs no other." => [
        "cancel::done_or_not_done": value::a_dropped_call_is_done_or_not_done,
    ];
    "CACHE-27" Must "Each entry of a batch is set by its own options; the outcomes are in the order of the entries." => [
        "batch::own_options": batch::each_entry_is_set_by_its_own_options,
    ];
    "CACHE-28" Must "Values are answered with what is left of their TTLs, in the order of the keys, and nothing for what is not there." => [
        "batch::with_ttl": batch::values_are_told_with_their_lives,
    ];
    "CACHE-29" Must "A value of a greater schema is removed by a set of a lesser one that would replace it; any other value is replaced." => [
        "schema::newer_is_removed": schema::a_newer_value_is_removed_and_not_replaced,
        "schema::others_are_replaced": schema::any_other_value_is_replaced,
    ];
    "CACHE-30" Must "Of any number that ask for a lease at once one is granted it; the others get what is left of it, and the value that is there." => [
        "lease::race_has_one_holder": lease::of_a_race_for_a_lease_one_gets_it,
        "lease::busy_tells": lease::who_does_not_get_it_is_told_how_long,
    ];
    "CACHE-31" Must "A value that is there is answered and grants no lease, unless one is wanted anyway: then it comes with the lease." => [
        "lease::hit_grants_none": lease::a_hit_grants_no_lease,
        "lease::anyway": lease::a_lease_wanted_anyway_comes_with_the_value,
    ];
    "CACHE-32" Must "The token that has the lease is granted it again, for its full length from then." => [
        "lease::same_token_again": lease::the_same_token_is_leased_anew,
    ];
    "CACHE-33" Must "A lease is there until it runs out, and then the next that asks is granted it." => [
        "lease::there_until_its_end": lease::a_lease_is_there_until_it_runs_out,
        "lease::runs_out": lease::a_lease_runs_out_and_is_taken_over,
    ];
    "CACHE-34" Must "Keep extends the lease that is held, and answers no value." => ["lease::keep_extends": lease::keep_extends_what_is_held];
    "CACHE-35" Must "Keep never takes a lease anew, whether it was voided, ran out, is another's, or never was: the answer is busy, with what is left of another's lease or nothing, and no value." => [
        "lease::keep_takes_none": lease::keep_takes_no_lease_anew,
    ];
    "CACHE-36" Must "A fill with the live lease stores the value with its life, and gives the lease back." => [
        "fill::stores": fill::a_fill_stores_and_gives_the_lease_back,
    ];
    "CACHE-37" Must "A fill without the live lease is fenced, and changes nothing." => ["fill::fenced": fill::a_fill_without_the_live_lease_changes_nothing];
    "CACHE-38" Must "A set that is stored voids the lease on its key, and so does one that finds a newer value." => [
        "void::by_set": fill::a_set_voids,
        "void::by_newer": fill::a_set_of_a_lesser_schema_voids,
        "void::by_set_many": fill::a_batch_of_sets_voids,
    ];
    "CACHE-39" Must "A removal voids the lease on its key, also if it finds nothing." => ["void::by_removal": fill::a_removal_voids];
    "CACHE-40" Must "An addition voids the lease on its key." => ["void::by_addition": fill::an_addition_voids];
    "CACHE-41" Must "What stores nothing voids no lease." => ["void::not_by_what_stores_nothing": fill::what_stores_nothing_voids_nothing];
    "CACHE-42" Must "A lease that is abandoned is free at once; only its holder can." => [
        "abandon::frees": lease::an_abandoned_lease_is_free_at_once,
        "abandon::only_the_holder": lease::only_the_holder_abandons,
    ];
    "CACHE-43" Must "A lease never shows as an entry." => ["lease::is_no_entry": lease::a_lease_is_no_entry];
    "CACHE-44" Must "Leases of different keys stay apart, whatever they hold." => ["lease::keys": lease::leases_of_different_keys_stay_apart];
    "CACHE-45" Must "Batches of fetches and of fills are answered in order; a fill over the cap is refused before any is stored." => [
        "lease::batch_order": lease::fetched_in_the_order_of_the_requests,
        "fill::batch_order": fill::fills_answer_in_order,
        "fill::size_cap": fill::a_filled_value_may_be_as_large_as_declared,
    ];
    "CACHE-46" Must "A generation stays the same, through every handle, until its tag is bumped." => [
        "generation::stays": generation::a_generation_stays_until_it_is_bumped,
    ];
    "CACHE-47" Must "A bump makes the generation of its tag strictly greater, and of no other, whatever runs beside it." => [
        "generation::bump": generation::a_bump_makes_it_greater_and_no_other,
        "generation::race_makes_distinct_ones": generation::of_a_race_of_bumps_each_makes_its_own,
    ];
    "CACHE-48" Must "A generation is not less than the store's time in microseconds, so that one that was lost never comes again." => [
        "generation::is_a_time": generation::a_generation_is_a_time,
    ];
    "CACHE-49" Must "The age of a generation is the time since it was made, by the store's clock." => [
        "generation::age": generation::an_age_is_the_time_since_it_was_made,
    ];
    "CACHE-50" Must "Tags stay apart, whatever they hold, and those of names from those of namespaces; answers are in their order." => [
        "generation::tags": generation::tags_stay_apart,
    ];
    "CACHE-51" Must "No tags have no generations, and bumping none is no error." => ["generation::of_no_tags": generation::of_no_tags_there_are_none];
    "CACHE-52" Must "The store's time is known to within some seconds, from the beginning." => ["time::is_told": generation::the_time_is_told];
    "CACHE-53" Must "Changes can be watched where a feed is declared." => ["watch::declared": watch::it_is_there_where_it_is_declared];
    "CACHE-54" Must "A watcher is notified that the feed is restored, before anything else." => ["watch::restored_first": watch::restored_is_told_first];
    "CACHE-55" Must "Each kind of change is notified with the whole key, whichever handle made it." => [
        "watch::each_kind": watch::each_kind_of_change_is_told,
        "watch::bumps": watch::each_bump_is_told,
    ];
    "CACHE-56" Must "Once a watcher was notified that the feed is restored, no change is missed." => ["watch::nothing_is_missed": watch::nothing_is_missed_once_restored_is_told];
    "CACHE-57" Must "No change of another namespace is notified, whatever it is called." => ["watch::only_its_namespace": watch::nothing_is_told_of_others];
    "CACHE-58" Must "A change is notified once it can be read, not before." => ["watch::told_when_done": watch::what_is_told_is_done];
    "CACHE-59" Must "A watcher that was dropped is not notified." => ["watch::dropped": watch::nothing_is_told_once_it_is_dropped];
    "CACHE-60" Must "Closing a handle tells its watchers that the feed is lost, and no others." => ["watch::closed": watch::closing_tells_lost];
    "CACHE-61" Must "A near cache is never left stale: once all is quiet, what is read is what was written last." => [
        "near::nothing_stale": load::a_near_cache_is_never_left_stale,
    ];
    "CACHE-62" Must "Of all callers in all processes that miss a value at once, one loads it." => ["load::one_for_all": load::of_all_callers_one_loads];
    "CACHE-63" Must "What was loaded before a write is never read after it." => [
        "load::not_after_a_write": load::what_was_loaded_before_a_write_is_not_read_after_it,
        "load::not_by_keeping": load::a_long_load_takes_no_lease_anew,
    ];
    "CACHE-64" Must "No addition of any process is lost." => ["process::no_addition_is_lost": process::cache::no_addition_is_lost];
    "CACHE-65" Must "Of all processes that ask for a lease one is granted it, and no other fills the entry." => [
        "process::one_lease_holder": process::cache::one_holds_the_lease,
    ];
    "CACHE-66" Must "Generations stay as they are, and bumped ones only grow, also when the store's wall clock is set back or forth." => [
        "wall_clock::generations_only_grow": wall_clock::cache::generations_only_grow,
    ];
    "CACHE-67" Must "A step of the store's wall clock prolongs the life of no entry and no lease by more than the step." => [
        "wall_clock::lives_after_a_step_back": wall_clock::cache::lives_after_a_step_back,
        "wall_clock::lives_after_a_step_forth": wall_clock::cache::lives_after_a_step_forth,
    ];
    "CACHE-68" Must "The feed is restored for each shard that a key of the watched namespace is said to be in." => ["watch::each_shard": watch::each_shard_of_a_namespace_is_restored];
    "CACHE-69" Must "A lease that was released as failed is said to have failed to all who ask, for so long; a write, and who asks despite it, end that." => [
        "failed::is_known": lease::a_failed_load_is_known_to_all,
        "failed::ends": lease::a_failure_ends,
    ];
    "CACHE-70" Must "A release of a lease is told to the watchers of its key, and leaves the entry as it was." => ["watch::releases": watch::a_release_is_told];
}
