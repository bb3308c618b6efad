//! What is wrong, and how the suite says so.

use crate::backend;
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// `GET`, and then `SET`.
    LookThenTake,
    /// Who does not get the lease is told how long its own would have been.
    BusyForTheWrongLease,
    /// Who does not get the lease does not get the value either.
    BusyHidesTheValue,
    /// The lease is taken first, and then the value is read.
    HitTakesTheLease,
    /// The value is read only if no lease is to be had.
    AnywayForgetsTheValue,
    /// `SET NX`: the holder itself finds the lease taken.
    HolderIsBusyToItself,
    /// The holder is told that it has the lease, which ends when it would have.
    SameTokenKeepsTheOldEnd,
    /// Lives are shortened a little, so that not all end at once.
    LeaseEndsEarly,
    /// `SET` without `PX`.
    LeaseHasNoEnd,
    /// The holder is told that it has the lease, and that is all.
    KeepDoesNotExtend,
    /// One script for both: a lease that is not there is taken.
    KeepIsAnyway,
    /// Who asks to keep what it has lost is answered what is there.
    KeepAnswersTheValue,
    /// The lease stays until it runs out.
    FillKeepsTheLease,
    /// `SET` without `PX`.
    FillLivesForEver,
    /// There is a lease: whose it is, is not asked.
    FillIsNotCompared,
    /// A lease ends when somebody asks for the next.
    FillAfterTheEnd,
    /// Fills are checked while they are sent.
    FillIsCheckedOneByOne,
    /// The replies are sorted by what they are.
    HitsComeFirst,
    /// The replies are sorted by what they are.
    FilledComeFirst,
    /// `SET`, and the lease is not thought of.
    SetKeepsTheLease,
    /// The newer value is removed, and the lease is not thought of.
    NewerKeepsTheLease,
    /// Only the single set voids.
    SetManyKeepsTheLease,
    /// "Nothing to remove": nothing is done.
    RemovingNothingKeepsTheLease,
    /// `DEL`, and the lease is not thought of.
    RemovalKeepsTheLease,
    /// `INCRBY`, and the lease is not thought of.
    AddKeepsTheLease,
    /// The lease is voided first, and then the condition is looked at.
    NotStoredVoidsTheLease,
    /// A failure is written down, and the next to load is not told.
    FailureIsForgotten,
    /// The mark of a failure is taken for the token of a holder.
    FailureIsBusy,
    /// For how long it is remembered yet is not looked up.
    FailureHasNoTime,
    /// Nobody may try again before the time is over.
    FailureIsFinal,
    /// It will run out anyway.
    AbandonDoesNothing,
    /// `DEL`, whoever holds it.
    AbandonDoesNotCompare,
    /// `DEL entry lease`, and the reply is the count.
    RemovalCountsTheLease,
    /// The lease on `kl` is kept where that on `k` is.
    LeasesAreCutToOneLetter,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Cache(super::super::Bug::Lease(bug)), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof(
        "CACHE-30",
        Bug::LookThenTake,
        "lease::race_has_one_holder",
        "leases for 30 that ask at once: 1\nobserved: 30",
    )
    .also(&["CACHE-62"]),
    proof("CACHE-30", Bug::BusyForTheWrongLease, "lease::busy_tells", "busy, with more than half of"),
    proof("CACHE-30", Bug::BusyHidesTheValue, "lease::busy_tells", "the value beside somebody else's lease"),
    proof("CACHE-31", Bug::HitTakesTheLease, "lease::hit_grants_none", "after a hit: leased\nobserved: Busy")
        .also(&["CACHE-69"]),
    proof("CACHE-31", Bug::AnywayForgetsTheValue, "lease::anyway", "a lease, and the value")
        .also(&["CACHE-62"]),
    proof("CACHE-32", Bug::HolderIsBusyToItself, "lease::same_token_again", "the same token again: leased"),
    proof(
        "CACHE-32",
        Bug::SameTokenKeepsTheOldEnd,
        "lease::same_token_again",
        "a lease of the full length from when it was asked for again: busy",
    ),
    proof("CACHE-33", Bug::LeaseEndsEarly, "lease::there_until_its_end", "a lease before its end: busy"),
    proof("CACHE-33", Bug::LeaseHasNoEnd, "lease::runs_out", "a lease after its end, for the next: leased")
        .also(&["CACHE-30", "CACHE-35", "CACHE-37", "CACHE-67"]),
    proof(
        "CACHE-34",
        Bug::KeepDoesNotExtend,
        "lease::keep_extends",
        "a kept lease, past its first end: busy",
    ),
    proof("CACHE-35", Bug::KeepIsAnyway, "lease::keep_takes_none", "keeping what was never held")
        .also(&["CACHE-63", "CACHE-69"]),
    proof("CACHE-35", Bug::KeepAnswersTheValue, "lease::keep_takes_none", "keeping what a set voided"),
    proof("CACHE-36", Bug::FillKeepsTheLease, "fill::stores", "filling a second time: Fenced"),
    proof("CACHE-36", Bug::FillLivesForEver, "fill::stores", "short: None\nobserved: Some"),
    proof("CACHE-37", Bug::FillIsNotCompared, "fill::fenced", "another token than the lease's: Fenced"),
    proof("CACHE-37", Bug::FillAfterTheEnd, "fill::fenced", "a fill after the lease ran out: Fenced"),
    proof("CACHE-38", Bug::SetKeepsTheLease, "void::by_set", "a fill of what was loaded before a set")
        .also(&["CACHE-35", "CACHE-63"]),
    proof(
        "CACHE-38",
        Bug::NewerKeepsTheLease,
        "void::by_newer",
        "a fill of what was loaded before a set that found a newer value: Fenced",
    ),
    proof(
        "CACHE-38",
        Bug::SetManyKeepsTheLease,
        "void::by_set_many",
        "a fill of what was loaded before a set in a batch: Fenced",
    ),
    proof(
        "CACHE-39",
        Bug::RemovingNothingKeepsTheLease,
        "void::by_removal",
        "a fill of what was loaded before a removal that found nothing: Fenced",
    )
    .also(&["CACHE-35", "CACHE-63"]),
    proof(
        "CACHE-39",
        Bug::RemovalKeepsTheLease,
        "void::by_removal",
        "a fill of what was loaded before the removal of a value: Fenced",
    )
    .also(&["CACHE-63"]),
    proof(
        "CACHE-40",
        Bug::AddKeepsTheLease,
        "void::by_addition",
        "a fill of what was loaded before an addition",
    ),
    proof(
        "CACHE-41",
        Bug::NotStoredVoidsTheLease,
        "void::not_by_what_stores_nothing",
        "a lease over which nothing was stored: busy",
    ),
    proof("CACHE-42", Bug::AbandonDoesNothing, "abandon::frees", "a lease that was abandoned: leased")
        .also(&["CACHE-69", "CACHE-70"]),
    proof(
        "CACHE-42",
        Bug::AbandonDoesNotCompare,
        "abandon::only_the_holder",
        "a lease that another token abandoned: busy",
    )
    .also(&["CACHE-69"]),
    proof("CACHE-69", Bug::FailureIsForgotten, "failed::is_known", "that a load has failed"),
    proof("CACHE-69", Bug::FailureIsBusy, "failed::is_known", "that a load has failed"),
    proof("CACHE-69", Bug::FailureHasNoTime, "failed::is_known", "for how long that is remembered yet"),
    proof("CACHE-69", Bug::FailureIsFinal, "failed::ends", "a lease despite a failure: leased"),
    proof(
        "CACHE-43",
        Bug::RemovalCountsTheLease,
        "lease::is_no_entry",
        "how many entries a removal finds: 0\nobserved: 1",
    ),
    proof(
        "CACHE-44",
        Bug::LeasesAreCutToOneLetter,
        "lease::keys",
        "a lease of its own for cache:case:kl: leased",
    ),
    proof("CACHE-45", Bug::HitsComeFirst, "lease::batch_order", "the answers in the order of the requests"),
    proof("CACHE-45", Bug::FilledComeFirst, "fill::batch_order", "the outcomes in the order of the fills"),
    proof("CACHE-45", Bug::FillIsCheckedOneByOne, "fill::size_cap", "a: None\nobserved: Some(b\"fine\")"),
    proof("CACHE-62", Bug::LookThenTake, "load::one_for_all", "loads for 40 callers in two processes: 1")
        .also(&["CACHE-30"]),
    proof(
        "CACHE-63",
        Bug::RemovingNothingKeepsTheLease,
        "load::not_after_a_write",
        "never what was loaded before the write",
    )
    .also(&["CACHE-35", "CACHE-39"]),
    proof("CACHE-63", Bug::KeepIsAnyway, "load::not_by_keeping", "never what was loaded before the write")
        .also(&["CACHE-35", "CACHE-69"]),
];
