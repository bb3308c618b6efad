//! What is wrong, and how the suite says so.

use crate::backend;
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// A near cache that hears of nobody else's writes.
    NearCacheIsNotInvalidated,
    /// Values are handled as text.
    ValuesAreText,
    /// A batch is checked while it is sent.
    BatchIsCheckedOneByOne,
    /// A batch over the bound is split, and not refused.
    BatchIsSplit,
    /// The replies are taken out of a map, so that a key's second question finds none.
    SecondQuestionFindsNone,
    /// `MGET` without keys is an error of the server.
    EmptyBatchIsSent,
    /// The batch is gathered with `entry().or_insert()`.
    FirstOfABatchHolds,
    /// `EXISTS a a` is 2.
    RemovingCountsDuplicates,
    /// `SET GET KEEPTTL`, and the condition is judged by the old value afterwards.
    AbsentIsJudgedAfterwards,
    /// The same for a condition that nothing was there.
    PresentIsJudgedAfterwards,
    /// `get() or ''` in a script: what is absent equals the empty value.
    NothingEqualsEmpty,
    /// The condition is looked at, and then the value is set.
    CheckThenSet,
    /// `MSET` has no expiry.
    BatchHasNoTtl,
    /// Lives are shortened a little, so that not all end at once.
    EndsEarly,
    /// What was asked for is told, and not what is left.
    TtlIsToldAsItWasSet,
    /// `EX` in place of `PX`.
    TtlInWholeSeconds,
    /// `KEEPTTL` on every set.
    SetKeepsTheOldLife,
    /// The script's `PEXPIRE` stands after its `end`.
    NotStoredGivesANewLife,
    /// `PEXPIRE GT`.
    TouchOnlyLengthens,
    /// "Nothing to add": the server is not asked.
    AddingZeroAsksNobody,
    /// The sum is made by the client.
    AddIsGetAndSet,
    /// Every addition sets the expiry.
    AddGivesANewLife,
    /// The sum stops at the end of its range.
    AddSaturates,
    /// What is no number counts as zero.
    NoNumberIsZero,
    /// The counter is read as the language reads numbers, which takes a plus and leading zeros.
    NumbersAreParsed,
    /// The store's collation does not tell upper from lower case.
    KeysAreFolded,
    /// `SET`, and then `PEXPIRE`.
    SetThenExpire,
    /// The reply of a call that was dropped is taken for that of the next.
    RepliesGetOutOfStep,
    /// One command for the whole batch, with the options of its first entry.
    BatchTakesTheFirstOptions,
    /// The conditional entries of a batch are sent last, and so are their outcomes.
    StoredOutcomesComeFirst,
    /// Values that are not there are left out of the answer.
    MissingValuesAreLeftOut,
    /// What was asked for is told with the value, and not what is left.
    ValuesComeWithTheTtlAsItWasSet,
    /// The schema number is for readers only.
    SchemaIsNotCompared,
    /// A newer value is left where it is.
    NewerIsLeftThere,
    /// Bytes are compared where a schema number would be, without a look at the header.
    AnyBytesHaveASchema,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Cache(super::super::Bug::Value(bug)), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof(
        "CACHE-01",
        Bug::NearCacheIsNotInvalidated,
        "value::is_read_back_by_every_handle",
        "a: Some(b\"two\")\nobserved: Some(b\"one\")",
    )
    .also(&["CACHE-58", "CACHE-61"]),
    proof("CACHE-02", Bug::ValuesAreText, "value::any_bytes", "expected: all: Some")
        .also(&["CACHE-29", "CACHE-38", "CACHE-61"]),
    proof("CACHE-03", Bug::BatchIsCheckedOneByOne, "value::size_cap", "b: None\nobserved: Some(b\"fine\")"),
    proof("CACHE-04", Bug::BatchIsSplit, "batch::bound", "too many to set: refused as invalid input"),
    proof("CACHE-05", Bug::SecondQuestionFindsNone, "batch::order", "values in the order asked"),
    proof("CACHE-06", Bug::EmptyBatchIsSent, "batch::empty", "wrong number of arguments"),
    proof("CACHE-07", Bug::FirstOfABatchHolds, "batch::last_holds", "observed: Some(b\"first\")"),
    proof(
        "CACHE-08",
        Bug::RemovingCountsDuplicates,
        "remove::counts_what_was_there",
        "distinct keys that held something: 2\nobserved: 3",
    ),
    proof(
        "CACHE-09",
        Bug::AbsentIsJudgedAfterwards,
        "when::absent",
        "a: Some(b\"one\")\nobserved: Some(b\"two\")",
    )
    .also(&["CACHE-41"]),
    proof("CACHE-10", Bug::PresentIsJudgedAfterwards, "when::present", "a: None\nobserved: Some(b\"one\")")
        .also(&["CACHE-41", "CACHE-43"]),
    proof("CACHE-11", Bug::NothingEqualsEmpty, "when::equals", "nothing is not the empty value: NotStored"),
    proof(
        "CACHE-12",
        Bug::CheckThenSet,
        "when::race_has_one_winner",
        "sets of 30 at once on the condition absent: 1\nobserved: 30",
    ),
    proof("CACHE-13", Bug::BatchHasNoTtl, "ttl::gone_at_deadline", "values after their deadline")
        .also(&["CACHE-26", "CACHE-27"]),
    proof("CACHE-14", Bug::EndsEarly, "ttl::there_until_deadline", "observed: None"),
    proof("CACHE-15", Bug::TtlIsToldAsItWasSet, "ttl::is_told", "what is left of the life"),
    proof("CACHE-16", Bug::TtlInWholeSeconds, "ttl::extremes", "short: None\nobserved: Some"),
    proof(
        "CACHE-17",
        Bug::SetKeepsTheOldLife,
        "ttl::set_gives_a_new_life",
        "a0: Some(b\"y\")\nobserved: None",
    ),
    proof(
        "CACHE-17",
        Bug::NotStoredGivesANewLife,
        "ttl::not_stored_changes_none",
        "a0: None\nobserved: Some",
    ),
    proof("CACHE-18", Bug::TouchOnlyLengthens, "ttl::touch", "b: None\nobserved: Some"),
    proof("CACHE-19", Bug::AddingZeroAsksNobody, "counter::is_text", "adding nothing: -2\nobserved: 0")
        .also(&["CACHE-40"]),
    proof("CACHE-20", Bug::AddIsGetAndSet, "counter::race_loses_nothing", "the sums of 60 additions at once"),
    proof("CACHE-21", Bug::AddGivesANewLife, "counter::window", "a0: None\nobserved: Some(b\"2\")"),
    proof("CACHE-22", Bug::AddSaturates, "counter::range", "one more: refused as invalid input"),
    proof("CACHE-23", Bug::NoNumberIsZero, "counter::no_number", "word: refused as codec")
        .also(&["CACHE-41"]),
    proof("CACHE-23", Bug::NumbersAreParsed, "counter::no_number", "plus: refused as codec"),
    proof("CACHE-24", Bug::KeysAreFolded, "isolation::keys", "each its own value"),
    must_fail(
        "CACHE-25",
        backend::Bug::PrefixForgotten,
        "isolation::places",
        "a: None\nobserved: Some(b\"here\")",
    ),
    must_fail(
        "CACHE-25",
        backend::Bug::PrefixForgotten,
        "isolation::places_of_leases",
        "the lease that nobody has",
    )
    .part("of_leases"),
    must_fail(
        "CACHE-25",
        backend::Bug::PrefixForgotten,
        "isolation::places_of_generations",
        "the generation here, after a bump elsewhere",
    )
    .part("of_generations"),
    must_fail(
        "CACHE-25",
        backend::Bug::PrefixForgotten,
        "isolation::places_of_watches",
        "news of another place: 0\nobserved: 1",
    )
    .part("of_watches"),
    proof("CACHE-26", Bug::SetThenExpire, "cancel::done_or_not_done", "the life that was asked for"),
    proof("CACHE-26", Bug::RepliesGetOutOfStep, "cancel::done_or_not_done", "observed: b\"another\""),
    proof("CACHE-27", Bug::BatchTakesTheFirstOptions, "batch::own_options", "the outcomes in the order")
        .also(&["CACHE-29", "CACHE-38"]),
    proof("CACHE-27", Bug::StoredOutcomesComeFirst, "batch::own_options", "the outcomes in the order")
        .also(&["CACHE-29"]),
    proof("CACHE-28", Bug::MissingValuesAreLeftOut, "batch::with_ttl", "nothing for what is not there")
        .also(&["CACHE-13", "CACHE-43"]),
    proof("CACHE-28", Bug::ValuesComeWithTheTtlAsItWasSet, "batch::with_ttl", "what is left of the life"),
    proof(
        "CACHE-29",
        Bug::SchemaIsNotCompared,
        "schema::newer_is_removed",
        "a set of a lesser schema: Newer",
    )
    .also(&["CACHE-38"]),
    proof("CACHE-29", Bug::NewerIsLeftThere, "schema::newer_is_removed", "a: None\nobserved: Some"),
    proof(
        "CACHE-29",
        Bug::AnyBytesHaveASchema,
        "schema::others_are_replaced",
        "no header: Stored\nobserved: Newer",
    ),
];
