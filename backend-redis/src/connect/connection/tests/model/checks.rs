//! What must hold whenever nothing is left to run.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use stanchion::clock::Clock;

use super::TICK;
use super::caller::{Caller, State, Wish};
use super::ends::Why;
use super::step::{Form, Patience, Then};
use super::world::World;
use crate::connect::connection::driver::{Driver, MAX_READS_IN_FLIGHT, MAX_UNWRITTEN};
use crate::connect::connection::queued::Amount;

impl Caller {
    /// Its request is sent, or about to be, and so much is read of all replies: whether it is in flight.
    fn is_in_flight(&self, read: usize) -> bool {
        let over = match (&self.due, self.asks_again) {
            (Some((_, end)), _) => *end <= read,
            // It is not asked again for one that has left.
            (None, Some(end)) => end <= read && !self.waits(),
            (None, None) => false,
        };
        self.packed_at.is_some() && !over
    }
}

impl World {
    /// The bytes that the server has read are those that were to be written.
    pub(super) fn check_received(&self) -> Result<(), String> {
        if self.log.lock().offered.starts_with(&self.server.received) {
            Ok(())
        } else {
            Err("the server reads what was not written".to_owned())
        }
    }

    pub(super) fn check_at_rest(&mut self) -> Result<(), String> {
        self.check_events()?;
        if self.driver.is_none() {
            return match self.callers.iter().position(Caller::waits) {
                Some(caller) => Err(format!("caller {caller} waits on a connection that has ended")),
                None => Ok(()),
            };
        }
        self.check_wire()?;
        self.check_counts()?;
        if self.is_blocked() {
            let _ = self.reached.insert("commands wait");
        }
        if self.driver.as_ref().is_some_and(|driver| driver.in_flight().1 >= MAX_READS_IN_FLIGHT) {
            let _ = self.reached.insert("reads wait");
        }
        for (at, caller) in self.callers.iter().enumerate().filter(|(_, caller)| caller.waits()) {
            self.check_waiting(caller).map_err(|why| format!("caller {at}: {why}"))?;
        }
        Ok(())
    }

    fn check_events(&self) -> Result<(), String> {
        let read = self.log.lock().read;
        let notes = self.notes.pushed.lock().unwrap_or_else(PoisonError::into_inner);
        let come = self.server.pushed.iter().take_while(|(_, end)| *end <= read).count();
        let right = notes.len() == come || (self.driver.is_none() && notes.len() < come);
        if !right || !notes.iter().eq(self.server.pushed[..notes.len()].iter().map(|(info, _)| info)) {
            return Err(format!("{} messages were pushed, and {come} have come", notes.len()));
        }
        let breaks = match self.ended.as_ref().map(|ended| ended.why) {
            None | Some(Why::Unwanted | Why::Closed) => 0,
            Some(Why::Broken | Why::Nonsense | Why::Panicked | Why::Runtime) => 1,
        };
        let broken = self.notes.broken.load(Ordering::Relaxed);
        if broken == breaks { Ok(()) } else { Err(format!("notified of {broken} breaks")) }
    }

    fn check_wire(&self) -> Result<(), String> {
        let log = self.log.lock();
        let unwritten = log.offered.len() - log.taken;
        if self.causes.closed {
            return Err("it was closed, and goes on".to_owned());
        }
        if unwritten > 0 && self.wire.has_room() {
            return Err(format!("{unwritten} bytes are not written, and there is room"));
        }
        // Until something is asked nothing is read.
        if log.offered.is_empty() {
            return Ok(());
        }
        if self.wire.unread() > 0 || log.read != self.server.sent {
            return Err("not all that has come is read".to_owned());
        }
        let is_mad = self.server.mad && self.server.sent == self.server.replies.len();
        if is_mad || self.wire.fails(unwritten > 0) {
            return Err("the stream has ended, and the driver goes on".to_owned());
        }
        let largest = self.callers.iter().map(|caller| caller.packed().len()).max().unwrap_or_default();
        // A key takes fewer than so many bytes.
        if unwritten > MAX_UNWRITTEN + largest + 100 * MAX_READS_IN_FLIGHT {
            return Err(format!("{unwritten} bytes are packed"));
        }
        Ok(())
    }

    /// What is counted is what is there.
    fn check_counts(&self) -> Result<(), String> {
        let read = self.log.lock().read;
        let in_flight = || self.callers.iter().filter(|caller| caller.is_in_flight(read));
        let reads = in_flight().filter(|caller| caller.is_read()).count();
        let expected = (in_flight().count(), reads);
        let Some(counted) = self.driver.as_ref().map(Driver::in_flight) else { return Ok(()) };
        if counted != expected {
            return Err(format!(
                "{expected:?} requests and reads are in flight, and {counted:?} are counted"
            ));
        }
        let Some(connection) = &self.connection else { return Ok(()) };
        let [commands, reads] = connection.waiting();
        let waits = |caller: &&Caller| caller.waits() && caller.packed_at.is_none();
        let bytes = self.callers.iter().filter(waits).map(|caller| caller.packed().len() as u64).sum::<u64>();
        if commands.bytes() != bytes {
            return Err(format!("{bytes} bytes of commands wait, and {} are counted", commands.bytes()));
        }
        if !self.is_blocked() && commands != Amount::default() {
            return Err(format!("no commands wait, and {} are counted", commands.requests()));
        }
        if counted.1 < MAX_READS_IN_FLIGHT && reads != Amount::default() {
            return Err(format!("no reads wait, and {} are counted", reads.requests()));
        }
        if counted.1 > 2 * MAX_READS_IN_FLIGHT {
            return Err(format!("{} reads are in flight", counted.1));
        }
        Ok(())
    }

    /// So much was not written when the driver ran last that no commands were packed. It may have written some of it then.
    fn is_blocked(&self) -> bool {
        let log = self.log.lock();
        log.taken < log.offered.len() && log.offered.len() - self.taken_before >= MAX_UNWRITTEN
    }

    fn check_waiting(&self, caller: &Caller) -> Result<(), String> {
        let log = self.log.lock();
        if caller.due.as_ref().is_some_and(|(_, end)| *end <= log.read) {
            return Err("its reply has come, and it has no answer".to_owned());
        }
        if caller.asks_again.is_some_and(|end| end <= log.read) {
            return Err("its key is not read again".to_owned());
        }
        let now = self.clock.now();
        if caller.over_at().is_some_and(|over| over <= now) {
            return Err("its deadline is over, and it waits".to_owned());
        }
        if let Patience::Extended(silence) = caller.patience {
            let last = caller.came.max(log.read_at).max(log.taken_at).max(self.jumped);
            // It looks twice at most, and time comes in ticks.
            if now.saturating_since(last) > Duration::from_millis(2 * (silence + TICK)) {
                return Err("nothing has come for long, and it waits".to_owned());
            }
        }
        drop(log);
        if caller.packed_at.is_none() && !self.may_be_unpacked(caller) {
            return Err("its request is not packed, and nothing is in its way".to_owned());
        }
        Ok(())
    }

    fn may_be_unpacked(&self, caller: &Caller) -> bool {
        match caller.wish {
            Wish::Read => {
                let reads = self.driver.as_ref().map_or(0, |driver| driver.in_flight().1);
                reads >= MAX_READS_IN_FLIGHT
            }
            Wish::Commands { .. } | Wish::Channels { .. } => self.is_blocked(),
        }
    }

    /// Everybody is served, if the connection lives, or has an error; and then the connection ends.
    pub(super) fn finish(&mut self) -> Result<(), String> {
        self.wire.flow(usize::MAX, usize::MAX, usize::MAX);
        self.rest()?;
        self.serve_to_the_end()?;
        // So is who comes now.
        for action in super::last_calls() {
            self.call(&action)?;
        }
        self.rest()?;
        self.serve_to_the_end()?;
        if let Some(caller) = self.callers.iter().position(Caller::waits) {
            return Err(format!("caller {caller} waits although all is served"));
        }
        self.note_what_was_reached();
        if self.driver.is_some() && self.server.received.len() != self.log.lock().offered.len() {
            return Err("not all requests have reached the server".to_owned());
        }
        self.connection = None;
        self.run(Then::Rest)?;
        if self.driver.is_some() { Err("nobody wants it, and it goes on".to_owned()) } else { Ok(()) }
    }

    fn note_what_was_reached(&mut self) {
        let read = self.log.lock().read;
        let come = |caller: &Caller| caller.due.as_ref().is_some_and(|(_, end)| *end <= read);
        if self.callers.iter().any(|caller| matches!(caller.state, State::Left) && come(caller)) {
            let _ = self.reached.insert("a reply to nobody");
        }
        if self.driver.is_some() {
            let _ = self.reached.insert("to the end");
        }
    }

    fn serve_to_the_end(&mut self) -> Result<(), String> {
        // Some keys are read twice.
        for _ in 0..3 {
            self.serve(Form::Text(u64::MAX), 10)?;
            self.rest()?;
        }
        Ok(())
    }
}
