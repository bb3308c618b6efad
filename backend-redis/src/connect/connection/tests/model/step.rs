//! The steps of which a sequence is made.

use proptest::prelude::*;

/// A connection, and what happens on it.
#[derive(Debug, Clone)]
pub(super) struct Sequence {
    /// The server is a node of a Cluster.
    pub(super) cluster: bool,
    /// Those of TLS to the server, if it is there.
    pub(super) small_records: bool,
    pub(super) steps: Vec<Step>,
}

#[derive(Debug, Clone)]
pub(super) struct Step {
    pub(super) action: Action,
    pub(super) then: Then,
}

/// What is run after an action.
#[derive(Debug, Clone, Copy)]
pub(super) enum Then {
    /// Everything, until all wait.
    Rest,
    /// The driver, once, whether it was woken or not.
    Driver,
    /// Those callers that were woken.
    Callers,
    Nothing,
}

#[derive(Debug, Clone)]
pub(super) enum Action {
    /// A caller sends commands in one request.
    Send {
        commands: usize,
        size: usize,
        writes: bool,
        patience: Patience,
    },
    /// A caller subscribes to channels, or unsubscribes.
    Subscribe {
        channels: usize,
        begins: bool,
        patience: Patience,
    },
    /// So many callers read a key each, with this deadline in milliseconds.
    Read {
        keys: usize,
        deadline: u64,
    },
    Heartbeat,
    /// So many of those that wait drop their futures, from this one on.
    Leave {
        first: usize,
        callers: usize,
    },
    /// What the system does: how many bytes wait for the server at most, how many a write takes, and how many a read answers.
    Flow {
        room: usize,
        written: usize,
        read: usize,
    },
    /// The server reads so many bytes.
    Receive(usize),
    /// The server replies to so many requests that it has read, and keeps the bytes.
    Reply {
        requests: usize,
        form: Form,
        size: usize,
    },
    /// The server pushes a message behind these replies.
    Push {
        kind: u8,
        size: usize,
    },
    /// So many of these bytes go to the client.
    Deliver(usize),
    /// The server reads all, replies to all, and sends it.
    Serve {
        form: Form,
        size: usize,
    },
    /// So many milliseconds.
    Pass(u64),
    /// So many in which callers are run, and the driver is not.
    Stall(u64),
    End(Ending),
}

/// How long a caller waits, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) enum Patience {
    Forever,
    Deadline(u64),
    /// Until nothing has come for so long.
    Extended(u64),
}

/// The form of replies.
#[derive(Debug, Clone, Copy)]
pub(super) enum Form {
    /// Strings. Of a command with many keys those whose bit is not set hold nothing.
    Text(u64),
    Nil,
    Refused,
    Denied,
    Loading,
    /// One of all the other types that a reply may have.
    Other(u8),
}

#[derive(Debug, Clone, Copy)]
pub(super) enum Ending {
    /// The server closes the connection behind what it has sent.
    HangUp,
    /// The network does, and what is on its way is lost.
    Reset,
    /// The next write fails that would take more than so many bytes.
    WriteFails(usize),
    /// Something that is no reply.
    Nonsense,
    /// A reply to no request.
    Unasked,
    Panic,
    Close,
    /// The runtime drops its tasks.
    Runtime,
}

/// Bytes: around the sizes at which something changes, small ones mostly.
fn size() -> impl Strategy<Value = usize> {
    prop_oneof![
        12 => 0..100_usize,
        2 => 505..520_usize,
        2 => 4_090..4_105_usize,
        2 => 10_000..70_000_usize,
        1 => 100_000..200_000_usize,
    ]
}

/// The same, and what is more than the driver writes at once.
fn sent() -> impl Strategy<Value = usize> {
    prop_oneof![20 => size(), 1 => 1_040_000..1_060_000_usize]
}

/// How many bytes of those that are there.
fn some() -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..60_usize, 3 => 60..5_000_usize, 2 => 5_000..100_000_usize, 3 => Just(usize::MAX)]
}

fn patience() -> impl Strategy<Value = Patience> {
    prop_oneof![
        3 => Just(Patience::Forever),
        2 => (5..60_u64).prop_map(Patience::Deadline),
        2 => (5..60_u64).prop_map(Patience::Extended),
    ]
}

fn form() -> impl Strategy<Value = Form> {
    prop_oneof![
        8 => any::<u64>().prop_map(|found| Form::Text(found | found << 1 | found >> 1)),
        1 => Just(Form::Text(u64::MAX)),
        2 => Just(Form::Nil),
        1 => Just(Form::Refused),
        1 => Just(Form::Denied),
        1 => Just(Form::Loading),
        3 => any::<u8>().prop_map(Form::Other),
    ]
}

fn ending() -> impl Strategy<Value = Ending> {
    prop_oneof![
        3 => Just(Ending::HangUp),
        2 => Just(Ending::Reset),
        4 => prop_oneof![0..300_usize, 0..40_000_usize].prop_map(Ending::WriteFails),
        1 => Just(Ending::Nonsense),
        1 => Just(Ending::Unasked),
        1 => Just(Ending::Panic),
        2 => Just(Ending::Close),
        1 => Just(Ending::Runtime),
    ]
}

fn flow() -> impl Strategy<Value = Action> {
    let room =
        || prop_oneof![1 => 0..3_usize, 3 => 3..400_usize, 2 => 400..70_000_usize, 3 => Just(usize::MAX)];
    let at_once = || prop_oneof![2 => 1..9_usize, 2 => 9..2_000_usize, 3 => Just(usize::MAX)];
    (room(), at_once(), at_once()).prop_map(|(room, written, read)| Action::Flow { room, written, read })
}

fn time() -> impl Strategy<Value = u64> {
    prop_oneof![3 => 1..30_u64, 1 => 30..150_u64]
}

fn action() -> impl Strategy<Value = Action> {
    let commands = prop_oneof![6 => Just(1_usize), 3 => 0..6_usize];
    // More than are in flight at once are rare, and take long.
    let keys = prop_oneof![40 => 1..8_usize, 40 => 8..20_usize, 20 => 60..140_usize, 1 => 4_150..4_300_usize];
    prop_oneof![
        16 => (commands, sent(), any::<bool>(), patience()).prop_map(|(commands, size, writes, patience)| {
            // So much in all.
            Action::Send { commands, size: size / commands.max(1), writes, patience }
        }),
        3 => (1..4_usize, any::<bool>(), patience())
            .prop_map(|(channels, begins, patience)| Action::Subscribe { channels, begins, patience }),
        12 => (keys, 5..80_u64).prop_map(|(keys, deadline)| Action::Read { keys, deadline }),
        2 => Just(Action::Heartbeat),
        6 => (0..40_usize, prop_oneof![3 => 1..3_usize, 1 => 3..40_usize])
            .prop_map(|(first, callers)| Action::Leave { first, callers }),
        6 => flow(),
        8 => some().prop_map(Action::Receive),
        10 => (prop_oneof![3 => 1..4_usize, 1 => 4..50_usize], form(), size())
            .prop_map(|(requests, form, size)| Action::Reply { requests, form, size }),
        5 => (any::<u8>(), size()).prop_map(|(kind, size)| Action::Push { kind, size }),
        12 => some().prop_map(Action::Deliver),
        6 => (form(), size()).prop_map(|(form, size)| Action::Serve { form, size }),
        6 => time().prop_map(Action::Pass),
        4 => time().prop_map(Action::Stall),
        2 => ending().prop_map(Action::End),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let then = prop_oneof![
        10 => Just(Then::Rest),
        2 => Just(Then::Driver),
        1 => Just(Then::Callers),
        5 => Just(Then::Nothing),
    ];
    (action(), then).prop_map(|(action, then)| Step { action, then })
}

/// Sequences of at most so many steps.
pub(super) fn sequences(most: usize) -> impl Strategy<Value = Sequence> {
    (prop::bool::weighted(0.2), any::<bool>(), prop::collection::vec(step(), 1..=most))
        .prop_map(|(cluster, small_records, steps)| Sequence { cluster, small_records, steps })
}
