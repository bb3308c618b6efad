//! A caller, what it asked for, and what it should get.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Wake;

use futures_util::future::LocalBoxFuture;
use redis::Value;
use stanchion::time::Monotonic;
use stanchion::{Effect, ErrorKind};

use super::step::Patience;
use crate::connect::connection::late::Late;
use crate::error::Access;

/// What a call has answered.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Answer {
    Values(Vec<Value>),
    Found(Option<Vec<u8>>),
    Done,
    Failed(ErrorKind, Effect),
    Late(Late),
}

impl Answer {
    pub(super) fn of<T>(outcome: stanchion::Result<T>, answer: impl FnOnce(T) -> Self) -> Self {
        match outcome {
            Ok(found) => answer(found),
            Err(error) => Self::Failed(error.kind(), error.effect()),
        }
    }
}

/// What the server has replied to a read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ReadOutcome {
    Found(Vec<u8>),
    Nothing,
    Failed(ErrorKind),
    /// Nothing that a caller could be given.
    AskAgain,
}

/// What a caller asked for.
pub(super) enum Wish {
    /// As they are sent, and how many replies there are.
    Commands {
        packed: Vec<u8>,
        replies: usize,
        access: Access,
    },
    /// As they are sent.
    Channels {
        packed: Vec<u8>,
    },
    Read,
}

pub(super) enum State {
    Waits(LocalBoxFuture<'static, Answer>),
    /// It has dropped its future.
    Left,
    Answered,
}

pub(super) struct Caller {
    pub(super) wish: Wish,
    pub(super) patience: Patience,
    /// When it came, and how often the driver had run by then.
    pub(super) came: Monotonic,
    pub(super) polls: u64,
    pub(super) state: State,
    /// Where what was packed for it first begins, of all that is written.
    pub(super) packed_at: Option<usize>,
    /// The values of replies so far.
    pub(super) values: Vec<Value>,
    /// The read is to be packed once more, when so much is read of all that the server sends.
    pub(super) asks_again: Option<usize>,
    /// So much was read of that when it left or was answered.
    pub(super) read_when_over: usize,
    /// What it must get, once so much is read of all that the server sends.
    pub(super) due: Option<(Answer, usize)>,
    /// In which run the driver has read that much,
    pub(super) read_in: Option<u64>,
    /// and in which its deadline was over.
    pub(super) over_in: Option<u64>,
    pub(super) waker: Arc<CallerWaker>,
}

impl Caller {
    pub(super) fn new(
        wish: Wish,
        patience: Patience,
        came: Monotonic,
        polls: u64,
        waker: Arc<CallerWaker>,
    ) -> Self {
        Self {
            wish,
            patience,
            came,
            polls,
            state: State::Answered,
            packed_at: None,
            values: Vec::new(),
            asks_again: None,
            read_when_over: 0,
            due: None,
            read_in: None,
            over_in: None,
            waker,
        }
    }

    pub(super) fn waits(&self) -> bool {
        matches!(self.state, State::Waits(_))
    }

    pub(super) fn access(&self) -> Access {
        match self.wish {
            Wish::Commands { access, .. } => access,
            Wish::Channels { .. } | Wish::Read => Access::Read,
        }
    }

    pub(super) fn is_read(&self) -> bool {
        matches!(self.wish, Wish::Read)
    }

    /// What is packed for its request; nothing of a read, of which others may be in one with it.
    pub(super) fn packed(&self) -> &[u8] {
        match &self.wish {
            Wish::Commands { packed, .. } | Wish::Channels { packed } => packed,
            Wish::Read => &[],
        }
    }

    /// It sends nothing, to which there is no reply.
    pub(super) fn sends_nothing(&self) -> bool {
        matches!(self.wish, Wish::Commands { replies: 0, .. })
    }
}

/// Those that were woken.
pub(super) type Woken = Arc<Mutex<VecDeque<usize>>>;

/// Wakes the caller of this number.
pub(super) struct CallerWaker {
    pub(super) caller: usize,
    pub(super) woken: Woken,
    pub(super) is_woken: AtomicBool,
}

impl Wake for CallerWaker {
    fn wake(self: Arc<Self>) {
        if !self.is_woken.swap(true, Ordering::Relaxed) {
            self.woken.lock().unwrap_or_else(PoisonError::into_inner).push_back(self.caller);
        }
    }
}

/// Wakes the driver.
#[derive(Default)]
pub(super) struct DriverWaker(pub(super) AtomicBool);

impl Wake for DriverWaker {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}
