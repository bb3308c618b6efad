//! Which case shows each of them.

use super::Bug;
use crate::backend;
use crate::proof::{Proof, must_fail};

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::Session(bug), case, message)
}

pub(crate) const PROOFS: &[Proof] = &[
    proof("SESSION-60", Bug::FirstChangeIsNotified, "feed::changes", "a patch of"),
    proof(
        "SESSION-61",
        Bug::WatchBeginsAlike,
        "feed::is_of_one_service",
        "notifications of another service's session: 0",
    ),
    proof(
        "SESSION-61",
        Bug::WatchNeverEnds,
        "feed::is_of_one_service",
        "what a watcher was notified of, after its watch was dropped",
    ),
    proof("SESSION-62", Bug::DueIsForgotten, "use::due_is_said", "an hour until a use is due"),
    proof(
        "SESSION-10",
        Bug::SortIsUnstable,
        "list::created_in_one_instant",
        "of one instant, the newest first",
    ),
    proof(
        "SESSION-24",
        Bug::ListedByTheClock,
        "wall_clock::order_is_by_creation",
        "by creation, the newest first, Some(Back",
    ),
    proof(
        "STORES-05",
        Bug::EndedAreLoaded,
        "ends::strangers_end_nothing",
        "the epoch of a session that is not there, after ending it",
    ),
    proof("SESSION-01", Bug::EmptyFieldsAreDropped, "create::loaded_as_created", "the fields"),
    proof(
        "SESSION-02",
        Bug::TakenIdIsReplaced,
        "create::taken_id",
        "the same id again: IdTaken\nobserved: Created",
    )
    .also(&["SESSION-32"]),
    proof("SESSION-03", Bug::RemovedAfterTheyAreSet, "patch::only_what_it_names", "fields and version"),
    proof(
        "SESSION-04",
        Bug::LaterVersionsMatch,
        "patch::conflict",
        "another version: Conflict { version: 2 }\nobserved: Saved { version: 3 }",
    ),
    proof(
        "SESSION-05",
        Bug::VersionIsReadAndCompared,
        "patch::race",
        "saved of 20 patches of one version at once: 1\nobserved: 20",
    ),
    proof(
        "SESSION-06",
        Bug::PatchBringsItBack,
        "destroy::stays_gone",
        "patching what has ended: Gone\nobserved: Saved",
    )
    // However it has ended.
    .also(&[
        "SESSION-09",
        "SESSION-11",
        "SESSION-13",
        "SESSION-27",
        "SESSION-33",
        "SESSION-34",
        "SESSION-36",
    ]),
    proof("SESSION-07", Bug::ExpiredAreListed, "timeout::idle", "the user's sessions: []")
        .also(&["SESSION-27"]),
    proof("SESSION-08", Bug::LoadingIsAUse, "timeout::use_keeps_alive", "loading is no use"),
    proof(
        "SESSION-09",
        Bug::UseForgetsTheAbsoluteDeadline,
        "timeout::absolute",
        "loading what has ended: None\nobserved: Some",
    ),
    proof("SESSION-10", Bug::ListedByLastUse, "list::newest_first", "by creation, the newest first")
        .also(&["SESSION-24", "SESSION-34"]),
    proof("SESSION-11", Bug::ExceptIsForgotten, "destroy::all_but_one", "the ended ones")
        .also(&["SESSION-36"]),
    proof(
        "SESSION-12",
        Bug::LimitIsOneTooMany,
        "limit::reject",
        "one too many: LimitReached\nobserved: Created",
    )
    .also(&["SESSION-15", "SESSION-30", "SESSION-34"]),
    proof("SESSION-13", Bug::OldestByUse, "limit::evict_oldest", "the two oldest, in order")
        .also(&["SESSION-34"]),
    proof(
        "SESSION-14",
        Bug::LeastRecentByCreation,
        "limit::evict_least_recent",
        "the two used longest ago, in order",
    ),
    proof(
        "SESSION-15",
        Bug::CountThenCreate,
        "limit::race",
        "sessions after 20 at once, reject: 3\nobserved: 20",
    )
    .also(&["SESSION-33"]),
    proof(
        "SESSION-16",
        Bug::ExpiredAreCounted,
        "limit::ended_do_not_count",
        "created\nobserved: LimitReached",
    )
    .also(&["SESSION-33"]),
    proof(
        "SESSION-17",
        Bug::ServiceIsForgotten,
        "isolation::services",
        "loading at another service: None\nobserved: Some",
    ),
    proof("SESSION-18", Bug::UsersAreFolded, "isolation::users", "one session of each: [\"a\"]"),
    proof(
        "SESSION-19",
        Bug::ZeroIsNoLimit,
        "input::bad_arguments",
        "a limit out of bounds: refused as invalid input",
    ),
    must_fail(
        "SESSION-20",
        backend::Bug::PrefixForgotten,
        "isolation::places",
        "loading elsewhere: None\nobserved: Some",
    ),
    proof(
        "SESSION-21",
        Bug::LoadThenDestroy,
        "destroy::race_tells_one",
        "told of 20 at once that they ended it: 1\nobserved: 20",
    ),
    proof("SESSION-22", Bug::CreateThenFields, "cancel::done_or_not_done", "the whole session"),
    proof(
        "SESSION-26",
        Bug::EveryUseIsRecorded,
        "use::recorded_when_due",
        "a use that is not due is not recorded",
    )
    .also(&["SESSION-62"]),
    proof(
        "SESSION-27",
        Bug::IntervalIsNotAdded,
        "use::idle_time_is_never_shortened",
        "a session lives for its idle timeout after each use, recorded or not",
    ),
    proof("SESSION-28", Bug::BoundsAreForgotten, "bounds::idle", "what is left of it, by the bounds"),
    proof(
        "SESSION-28",
        Bug::AbsoluteBoundIsForgotten,
        "bounds::absolute",
        "what is left of it, by the bounds",
    ),
    proof(
        "SESSION-28",
        Bug::OwnBoundsAreForgotten,
        "bounds::own_timeouts",
        "a session with its own timeouts, beyond the bound of others",
    ),
    proof(
        "SESSION-29",
        Bug::DataIsBoundedByTheCall,
        "data::bytes",
        "a patch with which it would hold too much: refused as invalid input",
    ),
    proof("SESSION-29", Bug::FieldsAreNotCounted, "data::fields", "one field more: refused as invalid input"),
    proof(
        "SESSION-29",
        Bug::RemovedNamesAreNotCounted,
        "data::removed_names",
        "removing too many names: refused as invalid input",
    ),
    proof("SESSION-30", Bug::OneMakesRoom, "limit::lowered", "all that are over the lower limit, in order")
        .also(&["SESSION-10", "SESSION-13", "SESSION-14", "SESSION-24"]),
    proof("SESSION-31", Bug::PatchForgetsTheDevice, "list::devices", "the devices, with another address"),
    proof(
        "SESSION-32",
        Bug::NobodyIsAUser,
        "anonymous::of_nobody",
        "the user of a session of nobody: (\"\", true)",
    ),
    proof("SESSION-33", Bug::ReplacedIsCounted, "replace::own", "created\nobserved: LimitReached"),
    proof(
        "SESSION-33",
        Bug::ReplacedVersionIsPassedOver,
        "replace::conflict",
        "in place of what has changed: Conflict { version: 2 }",
    ),
    proof(
        "SESSION-33",
        Bug::RotatedIsNotReplaced,
        "replace::rotated",
        "in place of what was rotated: Conflict { version: 2 }\nobserved: Created",
    ),
    proof(
        "SESSION-33",
        Bug::ReplacesAnybody,
        "replace::another_users",
        "the other user's session\nobserved: \"none\"",
    ),
    proof("SESSION-34", Bug::RotationBeginsAnew, "rotate::goes_on", "creation and absolute deadline"),
    proof(
        "SESSION-35",
        Bug::RotationIsThreeSteps,
        "rotate::race",
        "done of 20 rotations at once: 1\nobserved: 20",
    ),
    proof("SESSION-36", Bug::GraceIsForgotten, "rotate::grace_leads_on", "loading by the old id")
        .also(&["SESSION-33", "SESSION-35"]),
    proof(
        "SESSION-36",
        Bug::KeptByOneIdAlone,
        "rotate::kept_by_its_old_id",
        "ended but for the session of an old id",
    ),
    proof(
        "SESSION-36",
        Bug::GraceIsAlwaysTheLongest,
        "rotate::grace_ends",
        "loading what has ended: None\nobserved: Some",
    ),
    proof(
        "SESSION-37",
        Bug::RotatesForAnybody,
        "rotate::refused",
        "a session of another user: Gone\nobserved: Rotated",
    ),
];
