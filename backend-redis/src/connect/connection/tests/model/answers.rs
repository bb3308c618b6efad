//! Whether an answer is the right one.

use std::time::Duration;

use stanchion::clock::Clock;
use stanchion::time::Monotonic;
use stanchion::{Effect, ErrorKind};

use super::caller::{Answer, Caller};
use super::ends::{Ended, Why};
use super::step::Patience;
use super::world::World;
use crate::connect::connection::late::Late;
use crate::error::Access;

impl Caller {
    /// When its deadline is over, if it has one.
    pub(super) fn over_at(&self) -> Option<Monotonic> {
        match self.patience {
            Patience::Deadline(time) => Some(self.came.saturating_add(Duration::from_millis(time))),
            Patience::Forever | Patience::Extended(_) => None,
        }
    }

    /// The effect of its request, of which something was sent or not.
    fn effect(&self, sent: bool) -> Effect {
        if sent && self.access() == Access::Write { Effect::Unknown } else { Effect::NotApplied }
    }
}

impl World {
    /// Answers what kind of answer it is.
    pub(super) fn check_answer(&self, at: usize, answer: &Answer) -> Result<&'static str, String> {
        let caller = &self.callers[at];
        let read = self.log.lock().read;
        let come = caller.due.as_ref().filter(|(_, end)| *end <= read);
        if come.is_some_and(|(due, _)| due == answer) {
            return Ok(match answer {
                Answer::Values(_) => "replies",
                Answer::Found(Some(_)) => "a value",
                Answer::Found(None) => "no value",
                Answer::Done => "a confirmation",
                Answer::Failed(..) | Answer::Late(_) => "an error of the server",
            });
        }
        match answer {
            Answer::Values(values) if values.is_empty() && caller.sends_nothing() => {
                Ok("nothing for nothing")
            }
            Answer::Late(late) => self.check_late(caller, *late),
            Answer::Failed(ErrorKind::Timeout, effect) => self.check_timeout(caller, *effect),
            Answer::Failed(kind, effect) => self.check_failure(caller, *kind, *effect, come.is_some()),
            Answer::Values(_) | Answer::Found(_) | Answer::Done => {
                let short = |text: String| text.chars().take(200).collect::<String>();
                let due = if come.is_some() { "its reply is" } else { "its reply has not come, and is" };
                let (answer, reply) = (short(format!("{answer:?}")), short(format!("{:?}", caller.due)));
                Err(format!("it has {answer}; {due} {reply}"))
            }
        }
    }

    fn check_late(&self, caller: &Caller, late: Late) -> Result<&'static str, String> {
        if caller.over_at().is_none_or(|over| self.clock.now() < over) {
            return Err("it has a timeout before its deadline".to_owned());
        }
        let sent = caller.packed_at.is_some();
        let expected = Late { sent, not_run: !sent && self.polls == caller.polls };
        if late != expected && !caller.sends_nothing() {
            return Err(format!("it has {late:?} in place of {expected:?}"));
        }
        Ok(match late {
            Late { sent: true, .. } => "late and sent",
            Late { not_run: true, .. } => "late and not run",
            Late { .. } => "late and not sent",
        })
    }

    /// Of a read, or of a call that waits for as long as something comes.
    fn check_timeout(&self, caller: &Caller, effect: Effect) -> Result<&'static str, String> {
        let (now, expected) = (self.clock.now(), caller.effect(caller.packed_at.is_some()));
        if effect != expected {
            return Err(format!("it has a timeout and {effect:?} in place of {expected:?}"));
        }
        match caller.patience {
            Patience::Extended(silence) => {
                let last = caller.came.max(self.log.lock().read_at);
                let silent = now.saturating_since(last) >= Duration::from_millis(silence);
                if silent {
                    Ok("a silence")
                } else {
                    Err("it has a timeout while something comes".to_owned())
                }
            }
            Patience::Deadline(_) if caller.is_read() => {
                if caller.over_at().is_none_or(|over| now < over) {
                    return Err("it has a timeout before its deadline".to_owned());
                }
                // What has come is delivered first.
                let in_time = caller.read_in.is_some_and(|run| caller.over_in.is_none_or(|over| run <= over));
                if in_time {
                    return Err("it has a timeout although its reply was read".to_owned());
                }
                Ok(if caller.packed_at.is_some() { "a read is late" } else { "a read is late and not sent" })
            }
            Patience::Forever | Patience::Deadline(_) => Err("it has a timeout of nobody".to_owned()),
        }
    }

    /// Because the connection has ended.
    fn check_failure(
        &self,
        caller: &Caller,
        kind: ErrorKind,
        effect: Effect,
        come: bool,
    ) -> Result<&'static str, String> {
        let Some(ended) = &self.ended else {
            return Err(format!(
                "it fails as {kind:?} on a connection that lives; its reply: {:?}",
                caller.due
            ));
        };
        if come && matches!(ended.why, Why::Broken | Why::Nonsense) {
            return Err(format!("it fails as {kind:?} although its reply was read"));
        }
        let sent = caller.packed_at.is_some_and(|begins| begins < ended.taken);
        let left = caller.packed_at.is_some_and(|begins| begins < ended.left);
        let packed = caller.packed_at.is_some();
        let right = |sent| kind == self.kind(ended, sent) && effect == caller.effect(sent);
        let is_right = match ended.why {
            // The task did not come to look at how much was written.
            Why::Runtime => right(packed),
            // Several reads share what was written of one of them; reads have no effect.
            _ if caller.is_read() => right(false) || (packed && right(true)),
            _ => right(sent),
        };
        if !is_right {
            return Err(format!(
                "it fails as {kind:?}, {effect:?}, and the connection has ended as {:?}; sent: {sent}",
                ended.why
            ));
        }
        let writes = caller.access() == Access::Write;
        if left && writes && effect == Effect::NotApplied {
            return Err("it is not applied, and something of it has left".to_owned());
        }
        Ok(match ended.why {
            Why::Broken if writes && left => "broken, a write has left",
            Why::Broken if writes && sent => "broken, a write was taken",
            Why::Broken if writes && packed => "broken, a write was packed",
            Why::Broken if writes => "broken, a write waited",
            Why::Broken => "broken",
            Why::Nonsense => "nonsense",
            Why::Panicked => "a panic",
            Why::Runtime => "no runtime",
            Why::Closed => "closed",
            Why::Unwanted => "unwanted",
        })
    }

    fn kind(&self, ended: &Ended, sent: bool) -> ErrorKind {
        match ended.why {
            Why::Unwanted | Why::Closed => ErrorKind::Closed,
            Why::Runtime if self.causes.closed => ErrorKind::Closed,
            Why::Runtime => ErrorKind::Config,
            Why::Nonsense | Why::Panicked if sent => ErrorKind::Internal,
            Why::Broken | Why::Nonsense | Why::Panicked => ErrorKind::Unavailable,
        }
    }
}
