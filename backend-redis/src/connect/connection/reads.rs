//! Keys of several callers, each of whom gets his own.

use std::{mem, vec};

use redis::RedisResult;
use stanchion::time::Monotonic;
use stanchion::{Error, ErrorKind};

use super::asked::Taken;
use super::incoming::{Held, Incoming};
use super::request::Read;
use crate::connect::{held, unwrap};
use crate::error::{self, Access};

/// How keys are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// By `GET`.
    Each,
    /// By `MGET`.
    Together,
    /// By `GET`, after `MGET` has not found them, or is denied.
    Again { denied: bool },
}

pub(super) struct Reads {
    form: Form,
    // Those still to be answered, with the places of those who have left.
    left: vec::IntoIter<Option<Read>>,
    all: usize,
    // The line has come that begins the reply to `MGET`.
    begun: bool,
    again: Vec<Option<Read>>,
    denied: bool,
    missed: usize,
    failed: bool,
}

/// What became of all of them.
pub(super) struct Outcome {
    pub(super) form: Form,
    /// More than a quarter held nothing.
    pub(super) sparse: bool,
    /// None was answered with an error.
    pub(super) fine: bool,
    /// These are to be asked for by `GET`: `MGET` says nil for a list, which must be an error,
    pub(super) again: Vec<Option<Read>>,
    /// or may not be used for one of them, or at all.
    pub(super) denied: bool,
}

impl Reads {
    pub(super) fn new(reads: Vec<Read>, form: Form) -> Self {
        let all = reads.len();
        let left: Vec<_> = reads.into_iter().map(Some).collect();
        let (left, again) = (left.into_iter(), Vec::new());
        Self { form, left, all, begun: false, again, denied: false, missed: 0, failed: false }
    }

    pub(super) fn take(&mut self, incoming: &mut Incoming) -> RedisResult<Option<Taken>> {
        if self.form == Form::Together && !self.begun {
            match incoming.begins_array(self.all) {
                None => return Ok(None),
                Some(false) => return self.take_refusal(incoming),
                Some(true) => self.begun = true,
            }
        }
        let Some(found) = incoming.held()? else { return Ok(None) };
        let read = self.left.next().flatten();
        let answer = match found {
            Held::String(string) => Ok(Some(string)),
            Held::Other(value) => unwrap(value, Access::Read).and_then(held),
            Held::Nothing => {
                self.missed += 1;
                Ok(None)
            }
        };
        self.failed |= answer.is_err();
        let again = self.form == Form::Together && matches!(answer, Ok(None));
        if again {
            self.again.push(read);
        } else if let Some(read) = read {
            read.answer(answer);
        }
        Ok(Some(Taken { answers: usize::from(!again), done: self.left.len() == 0 }))
    }

    /// The reply is not what `MGET` answers.
    fn take_refusal(&mut self, incoming: &mut Incoming) -> RedisResult<Option<Taken>> {
        let Some(value) = incoming.value()? else { return Ok(None) };
        let why = match unwrap(value, Access::Read) {
            // The right to `GET` is enough for all of this; what is denied of that is told for each.
            Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unsupported) => {
                self.denied = true;
                self.again = self.left.by_ref().collect();
                return Ok(Some(Taken { answers: 0, done: true }));
            }
            Err(error) => error,
            Ok(_) => error::unexpected_reply(Access::Read),
        };
        self.failed = true;
        self.left.by_ref().flatten().for_each(|read| read.answer(Err(why.clone())));
        Ok(Some(Taken { answers: self.all, done: true }))
    }

    pub(super) fn outcome(self) -> Outcome {
        let (form, again, denied) = (self.form, self.again, self.denied);
        Outcome { form, sparse: self.missed * 4 > self.all, fine: !self.failed, again, denied }
    }

    pub(super) fn expire(&mut self, now: Monotonic) -> Option<Monotonic> {
        let waiting = self.left.as_mut_slice().iter_mut().chain(&mut self.again);
        waiting.filter_map(|read| expire(read, now)).min()
    }

    pub(super) fn fail(self, why: impl Fn(Access) -> Error) {
        let why = why(Access::Read);
        self.left.chain(self.again).flatten().for_each(|read| read.answer(Err(why.clone())));
    }
}

/// Tells a caller who has waited too long; answers when one who has not will have.
pub(super) fn expire(read: &mut Option<Read>, now: Monotonic) -> Option<Monotonic> {
    match mem::take(read) {
        Some(late) if late.is_late(now) => {
            late.tell_late();
            None
        }
        kept => {
            *read = kept;
            read.as_ref().map(|read| read.due)
        }
    }
}
