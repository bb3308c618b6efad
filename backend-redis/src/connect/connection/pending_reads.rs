//! Reads of several callers that were sent together, each of which gets its own value.

use std::vec;

use redis::RedisResult;
use stanchion::ErrorKind;
use stanchion::time::Monotonic;

use super::end::End;
use super::incoming::{Incoming, Reply};
use super::progress::Progress;
use super::request::{Read, time_out};
use crate::error::{self, Access};
use crate::reply;

/// The command by which keys are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadForm {
    /// `GET`, one for each key.
    Get,
    /// `MGET`, one for all keys.
    Mget,
    /// `GET`, after `MGET` has not found them, or is denied.
    GetAgain { denied: bool },
}

pub(super) struct PendingReads {
    form: ReadForm,
    // Those that have no reply yet, with the places of those that have timed out.
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
    pub(super) form: ReadForm,
    /// More than a quarter of the keys held nothing.
    pub(super) sparse: bool,
    /// None had an error for a reply.
    pub(super) fine: bool,
    /// These are to be read by `GET`: `MGET` replies nil for a list, which must be an error,
    pub(super) again: Vec<Option<Read>>,
    /// or is denied for one of the keys, or at all.
    pub(super) denied: bool,
}

impl PendingReads {
    pub(super) fn new(reads: Vec<Read>, form: ReadForm) -> Self {
        let all = reads.len();
        let left: Vec<_> = reads.into_iter().map(Some).collect();
        let (left, again) = (left.into_iter(), Vec::new());
        Self { form, left, all, begun: false, again, denied: false, missed: 0, failed: false }
    }

    pub(super) fn unanswered(&self) -> usize {
        self.left.len() + self.again.len()
    }

    pub(super) fn read_reply(&mut self, incoming: &mut Incoming) -> RedisResult<Option<Progress>> {
        if self.form == ReadForm::Mget && !self.begun {
            match incoming.begins_array(self.all) {
                None => return Ok(None),
                Some(false) => return self.read_refusal(incoming),
                Some(true) => self.begun = true,
            }
        }
        let Some(found) = incoming.reply()? else { return Ok(None) };
        let read = self.left.next().flatten();
        let outcome = match found {
            Reply::String(string) => Ok(Some(string)),
            Reply::Other(value) => reply::checked(value, Access::Read).and_then(reply::read_value),
            Reply::Nil => {
                self.missed += 1;
                Ok(None)
            }
        };
        self.failed |= outcome.is_err();
        let again = self.form == ReadForm::Mget && matches!(outcome, Ok(None));
        if again {
            self.again.push(read);
        } else if let Some(read) = read {
            read.reply(outcome);
        }
        Ok(Some(Progress { replied: usize::from(!again), done: self.left.len() == 0 }))
    }

    /// The reply is not an array of as many values as there are keys.
    fn read_refusal(&mut self, incoming: &mut Incoming) -> RedisResult<Option<Progress>> {
        let Some(value) = incoming.value()? else { return Ok(None) };
        let why = match reply::checked(value, Access::Read) {
            // The right to `GET` is enough for all of this; where that is denied too, each key has its own error.
            Err(error) if matches!(error.kind(), ErrorKind::Denied | ErrorKind::Unsupported) => {
                self.denied = true;
                self.again = self.left.by_ref().collect();
                return Ok(Some(Progress { replied: 0, done: true }));
            }
            Err(error) => error,
            Ok(_) => error::unexpected_reply(Access::Read),
        };
        self.failed = true;
        self.left.by_ref().flatten().for_each(|read| read.reply(Err(why.clone())));
        Ok(Some(Progress { replied: self.all, done: true }))
    }

    pub(super) fn outcome(self) -> Outcome {
        let (form, again, denied) = (self.form, self.again, self.denied);
        Outcome { form, sparse: self.missed * 4 > self.all, fine: !self.failed, again, denied }
    }

    pub(super) fn time_out(&mut self, now: Monotonic) -> Option<Monotonic> {
        let waiting = self.left.as_mut_slice().iter_mut().chain(&mut self.again);
        waiting.filter_map(|read| time_out(read, now)).min()
    }

    pub(super) fn fail(self, end: &End, sent: bool) {
        let why = end.error(Access::Read, sent);
        self.left.chain(self.again).flatten().for_each(|read| read.reply(Err(why.clone())));
    }
}
