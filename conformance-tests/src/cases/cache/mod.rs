//! Cached values.

mod batch;
mod common;
mod counter;
mod isolation;
mod ttl;
mod value;

use super::rules;

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
    "CACHE-15" Must "What is left of a life is told, and nothing for what is not there." => ["ttl::is_told": ttl::the_ttl_is_told];
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
    "CACHE-23" Must "What is no decimal number is refused by add, and left as it was." => ["counter::no_number": counter::what_is_no_number_is_left_alone];
    "CACHE-24" Must "Different identifiers never share an entry, whatever they hold." => ["isolation::keys": isolation::keys_stay_apart_whatever_they_hold];
    "CACHE-25" Must "Places stay apart." => ["isolation::places": isolation::places_stay_apart];
    "CACHE-26" Must "A dropped call is either not done or wholly done, and disturbs no other." => [
        "cancel::done_or_not_done": value::a_dropped_call_is_done_or_not_done,
    ];
}
