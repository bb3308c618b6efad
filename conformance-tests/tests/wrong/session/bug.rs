//! What session stores get wrong.

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// An empty value is no value.
    EmptyFieldsAreDropped,
    /// `SET` where there should be `SET NX`.
    TakenIdIsReplaced,
    /// First the fields that are set are written, then those are removed that are removed.
    RemovedAfterTheyAreSet,
    /// The version that is expected must be the stored one or a later.
    LaterVersionsMatch,
    /// The version is read and compared, and then the fields are written.
    VersionIsReadAndCompared,
    /// `HSET` makes the session anew.
    PatchBringsItBack,
    /// The index of a user is not cleared of what has expired.
    ExpiredAreListed,
    /// Loading counts as a use.
    LoadingIsAUse,
    /// Every use sets the expiry to the idle timeout, with no regard to the absolute one.
    UseForgetsTheAbsoluteDeadline,
    /// The index is ordered by the last use.
    ListedByLastUse,
    /// All are ended.
    ExceptIsForgotten,
    /// `>` in place of `>=`.
    LimitIsOneTooMany,
    /// Those used longest ago make room.
    OldestByUse,
    /// The oldest make room.
    LeastRecentByCreation,
    /// Counted, and then created.
    CountThenCreate,
    /// A counter that is lowered by ending a session, and not when one expires.
    ExpiredAreCounted,
    /// The service is not in the key.
    ServiceIsForgotten,
    /// The store's collation does not tell upper from lower case.
    UsersAreFolded,
    /// A limit of zero is none.
    ZeroIsNoLimit,
    /// Loaded, and then deleted.
    LoadThenDestroy,
    /// The session is written, and then its fields.
    CreateThenFields,
    /// Sorted by the time, by a sort that leaves the order of the same time as it was only while there are few.
    SortIsUnstable,
    /// The index is ordered by the time of creation alone.
    ListedByTheClock,
    /// Loading finds what was created here, also after it has ended.
    EndedAreLoaded,
    /// Every use is recorded.
    EveryUseIsRecorded,
    /// The interval in which uses are recorded is not added to the life.
    IntervalIsNotAdded,
    /// What is stored holds.
    BoundsAreForgotten,
    /// The bounds hold for the idle timeout alone.
    AbsoluteBoundIsForgotten,
    /// The same bounds for all.
    OwnBoundsAreForgotten,
    /// Only what one call sends is bounded.
    DataIsBoundedByTheCall,
    /// The bytes of a session are bounded, and not how many fields they are in.
    FieldsAreNotCounted,
    /// Names to be removed are not looked at.
    RemovedNamesAreNotCounted,
    /// One goes for each that comes.
    OneMakesRoom,
    /// What a patch says of the device is passed over.
    PatchForgetsTheDevice,
    /// Sessions of nobody are somebody's.
    NobodyIsAUser,
    /// The predecessor is ended after the new session is created, and counted until then.
    ReplacedIsCounted,
    /// The version of the predecessor is not looked at.
    ReplacedVersionIsPassedOver,
    /// A predecessor that was rotated is taken for one that has ended.
    RotatedIsNotReplaced,
    /// The predecessor is ended, whosever it is.
    ReplacesAnybody,
    /// A rotated session begins anew.
    RotationBeginsAnew,
    /// Read, created and ended, one after the other.
    RotationIsThreeSteps,
    /// The old id is good for nothing at once.
    GraceIsForgotten,
    /// The session to be kept is looked for under the id alone that was given.
    KeptByOneIdAlone,
    /// The old id is good for as long as can be.
    GraceIsAlwaysTheLongest,
    /// Who rotates need not be the user.
    RotatesForAnybody,
    /// Of each session one change is notified.
    FirstChangeIsNotified,
    /// What begins alike is taken for the service.
    WatchBeginsAlike,
    /// Nothing ends a watch.
    WatchNeverEnds,
    /// When a use is due is not said.
    DueIsForgotten,
}
