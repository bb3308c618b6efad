//! What the server does of its own accord, and what its replies mean to callers.

use stanchion::{Effect, ErrorKind};

use super::caller::{Answer, ReadOutcome, Wish};
use super::replies;
use super::requests::{self, Asked, name};
use super::step::Form;
use super::world::World;

impl World {
    pub(super) fn receive(&mut self, bytes: usize) -> Result<(), String> {
        self.server.receive(bytes)?;
        self.check_received()
    }

    /// So large are replies that should have this size, where there are many: more bytes take long.
    pub(super) fn size_of_each(&self, size: usize) -> usize {
        let values = |asked: &Asked| if let Asked::Mget(callers) = asked { callers.len() } else { 1 };
        size.min(400_000 / self.server.asked.iter().map(values).sum::<usize>().max(1))
    }

    /// The server does all that it can.
    pub(super) fn serve(&mut self, form: Form, size: usize) -> Result<(), String> {
        self.receive(usize::MAX)?;
        let size = self.size_of_each(size);
        while !self.server.asked.is_empty() && !self.server.mad {
            self.reply(form, size);
        }
        self.server.send(usize::MAX)
    }

    /// The server replies to the next request.
    pub(super) fn reply(&mut self, form: Form, size: usize) {
        if self.server.mad {
            return;
        }
        let Some(asked) = self.server.asked.pop_front() else { return };
        match asked {
            Asked::Command { caller: at, at: place } => {
                let reply = replies::to_command(&name(at, place), form, size);
                let end = self.server.reply(&reply);
                let caller = &mut self.callers[at];
                caller.values.push(replies::value(&reply));
                if let Wish::Commands { replies, .. } = caller.wish
                    && replies == caller.values.len()
                {
                    caller.due = Some((Answer::Values(caller.values.clone()), end));
                }
            }
            Asked::Channels { caller: at, names, begins } => {
                let refused = match form {
                    Form::Refused => Some(ErrorKind::Internal),
                    Form::Denied => Some(ErrorKind::Denied),
                    Form::Loading => Some(ErrorKind::Unavailable),
                    Form::Text(_) | Form::Nil | Form::Other(_) => None,
                };
                self.callers[at].due = Some(if let Some(kind) = refused {
                    let end = self.server.reply(&replies::to_command("channel", form, 0));
                    (Answer::Failed(kind, Effect::NotApplied), end)
                } else {
                    let confirm =
                        |channel: &String| self.server.push(&replies::confirmation(begins, channel));
                    (Answer::Done, names.iter().map(confirm).last().unwrap_or_default())
                });
            }
            Asked::Get(at) => {
                let (reply, outcome) = replies::to_get(&requests::key(at), form, size);
                let end = self.server.reply(&reply);
                self.read_is_replied(at, outcome, end);
            }
            Asked::Mget(callers) => {
                let names: Vec<_> = callers.iter().map(|at| requests::key(*at)).collect();
                let (begin, values) = replies::to_mget(&names, form, size);
                let _ = self.server.reply(&begin);
                for (at, (value, outcome)) in callers.iter().zip(values) {
                    let end = self.server.reply(&value);
                    self.read_is_replied(*at, outcome, end);
                }
                let end = self.server.replies.len();
                for at in callers {
                    self.callers[at].asks_again = self.callers[at].asks_again.map(|_| end);
                }
            }
        }
    }

    fn read_is_replied(&mut self, at: usize, outcome: ReadOutcome, end: usize) {
        let caller = &mut self.callers[at];
        let answer = match outcome {
            ReadOutcome::Found(bytes) => Answer::Found(Some(bytes)),
            ReadOutcome::Nothing => Answer::Found(None),
            ReadOutcome::Failed(kind) => Answer::Failed(kind, Effect::NotApplied),
            ReadOutcome::AskAgain => {
                caller.asks_again = Some(end);
                return;
            }
        };
        caller.due = Some((answer, end));
    }
}
