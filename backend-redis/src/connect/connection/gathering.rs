//! Whether reads that come together share commands.

use super::pending_reads::{Outcome, ReadForm};

/// So many reads at least share an `MGET`.
pub(super) const MGET_MIN: usize = 8;
/// So many keys has one `MGET` at most, so that the server turns to other clients in between.
pub(super) const MGET_MAX: usize = 64;

/// What earlier reads say of the next ones.
#[derive(Debug, Default)]
pub(super) struct Gathering {
    // Many of the keys that were read last held nothing: each of those is read twice by `MGET`.
    sparse: bool,
    // The server, or its ACL, refuses `MGET`.
    refused: bool,
}

impl Gathering {
    /// Whether so many reads are sent by `MGET`.
    pub(super) fn gathers(&self, reads: usize) -> bool {
        reads >= MGET_MIN && !self.sparse && !self.refused
    }

    /// Learns from reads that are answered.
    pub(super) fn learn(&mut self, outcome: &Outcome) {
        match outcome.form {
            // By `GET` all were let in: it was the command that is denied, and not one of the keys.
            ReadForm::GetAgain { denied } => self.refused |= denied && outcome.fine,
            _ if outcome.denied => {}
            _ => self.sparse = outcome.sparse,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(form: ReadForm, sparse: bool, fine: bool, denied: bool) -> Outcome {
        Outcome { form, sparse, fine, again: Vec::new(), denied }
    }

    #[test]
    fn few_reads_and_sparse_keys_are_read_one_by_one() {
        let mut gathering = Gathering::default();
        assert!(!gathering.gathers(MGET_MIN - 1) && gathering.gathers(MGET_MIN));
        gathering.learn(&outcome(ReadForm::Mget, true, true, false));
        assert!(!gathering.gathers(MGET_MIN));
        gathering.learn(&outcome(ReadForm::Get, false, true, false));
        assert!(gathering.gathers(MGET_MIN), "until keys are found again");
    }

    #[test]
    fn a_denied_command_ends_it_and_a_denied_key_does_not() {
        let mut gathering = Gathering::default();
        gathering.learn(&outcome(ReadForm::Mget, false, true, true));
        gathering.learn(&outcome(ReadForm::GetAgain { denied: true }, false, false, false));
        assert!(gathering.gathers(MGET_MIN), "one of the keys is denied to `GET` too");
        gathering.learn(&outcome(ReadForm::GetAgain { denied: true }, false, true, false));
        assert!(!gathering.gathers(MGET_MIN));
    }
}
