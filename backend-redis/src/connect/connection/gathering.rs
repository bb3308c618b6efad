//! Whether reads that come together share commands.

use std::time::Duration;

use stanchion::clock::Clock;
use stanchion::time::Monotonic;

use super::pending_reads::{Outcome, ReadForm};

/// So many reads at least share an `MGET`.
pub(super) const MGET_MIN: usize = 8;
/// So many keys has one `MGET` at most, so that the server turns to other clients in between.
pub(super) const MGET_MAX: usize = 64;

/// After a refusal `MGET` is tried again after so long: an operator may have given the right meanwhile.
const REFUSED_FOR: Duration = Duration::from_mins(1);

/// What earlier reads say of the next ones.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    // Many of the keys that were read last held nothing: each of those is read twice by `MGET`.
    sparse: bool,
    // The server, or its ACL, refuses `MGET`; until then it is not tried again.
    refused: Option<Monotonic>,
}

impl Gathering {
    /// Whether so many reads are sent by `MGET`.
    pub(super) fn gathers(&mut self, reads: usize, clock: &dyn Clock) -> bool {
        if reads < MGET_MIN || self.sparse {
            return false;
        }
        if self.refused.is_some_and(|until| clock.now() >= until) {
            self.refused = None;
        }
        self.refused.is_none()
    }

    /// Learns from reads that are answered.
    pub(super) fn learn(&mut self, outcome: &Outcome, clock: &dyn Clock) {
        match outcome.form {
            // By `GET` all were let in: it was the command that is denied, and not one of the keys.
            ReadForm::GetAgain { denied: true } if outcome.fine => {
                self.refused = Some(clock.now().saturating_add(REFUSED_FOR));
            }
            ReadForm::GetAgain { .. } => {}
            _ if outcome.denied => {}
            _ => self.sparse = outcome.sparse,
        }
    }
}

#[cfg(test)]
mod tests {
    use stanchion::clock::ManualClock;

    use super::*;

    fn outcome(form: ReadForm, sparse: bool, fine: bool, denied: bool) -> Outcome {
        Outcome { form, sparse, fine, again: Vec::new(), denied }
    }

    #[test]
    fn few_reads_and_sparse_keys_are_read_one_by_one() {
        let (mut gathering, clock) = (Gathering::default(), ManualClock::new());
        assert!(!gathering.gathers(MGET_MIN - 1, &clock) && gathering.gathers(MGET_MIN, &clock));
        gathering.learn(&outcome(ReadForm::Mget, true, true, false), &clock);
        assert!(!gathering.gathers(MGET_MIN, &clock));
        gathering.learn(&outcome(ReadForm::Get, false, true, false), &clock);
        assert!(gathering.gathers(MGET_MIN, &clock), "until keys are found again");
    }

    #[test]
    fn a_denied_command_ends_it_and_a_denied_key_does_not() {
        let (mut gathering, clock) = (Gathering::default(), ManualClock::new());
        gathering.learn(&outcome(ReadForm::Mget, false, true, true), &clock);
        gathering.learn(&outcome(ReadForm::GetAgain { denied: true }, false, false, false), &clock);
        assert!(gathering.gathers(MGET_MIN, &clock), "one of the keys is denied to `GET` too");
        gathering.learn(&outcome(ReadForm::GetAgain { denied: true }, false, true, false), &clock);
        assert!(!gathering.gathers(MGET_MIN, &clock));
        clock.advance(REFUSED_FOR * 9 / 10);
        assert!(!gathering.gathers(MGET_MIN, &clock));
        clock.advance(REFUSED_FOR / 10);
        assert!(gathering.gathers(MGET_MIN, &clock), "the right may have been given");
    }
}
