//! Doing the actions of a sequence.

use std::time::Duration;

use stanchion::clock::Clock;

use super::TICK;
use super::caller::State;
use super::ends::Why;
use super::replies;
use super::step::{Action, Ending, Form, Step, Then};
use super::world::World;
use crate::connect::connection::Connection;

impl World {
    pub(super) async fn step(&mut self, step: &Step) -> Result<(), String> {
        self.act(&step.action, step.then).await?;
        self.run(step.then)
    }

    async fn act(&mut self, action: &Action, then: Then) -> Result<(), String> {
        match *action {
            Action::Send { .. } | Action::Subscribe { .. } | Action::Read { .. } | Action::Heartbeat => {
                self.call(action)
            }
            Action::Leave { first, callers } => {
                self.leave(first, callers);
                Ok(())
            }
            Action::Flow { room, written, read } => {
                self.wire.flow(room, written, read);
                Ok(())
            }
            Action::Receive(bytes) => self.receive(bytes),
            Action::Reply { requests, form, size } => {
                let size = self.size_of_each(size);
                (0..requests).for_each(|_| self.reply(form, size));
                Ok(())
            }
            Action::Push { kind, size } => {
                if !self.server.mad {
                    let message = replies::pushed(kind, "m", size);
                    let _ = self.server.push(&message);
                }
                Ok(())
            }
            Action::Deliver(bytes) => self.server.send(bytes),
            Action::Serve { form, size } => self.serve(form, size),
            Action::Pass(time) => self.pass(time, then).await,
            Action::Stall(time) => {
                self.pass(time, Then::Nothing).await?;
                self.run(Then::Callers)
            }
            Action::End(ending) => self.end(ending),
        }
    }

    fn leave(&mut self, first: usize, count: usize) {
        let waiting = self.callers.iter().filter(|caller| caller.waits()).count();
        let first = first.checked_rem(waiting).unwrap_or_default();
        let taken = self.log.lock().taken;
        for caller in self.callers.iter_mut().filter(|caller| caller.waits()).skip(first).take(count) {
            let _ = self.reached.insert(match caller.packed_at {
                None => "one leaves unsent",
                Some(begins) if begins >= taken => "one leaves packed",
                Some(begins) if begins + caller.packed().len() > taken => "one leaves half written",
                Some(_) => "one leaves in flight",
            });
            caller.state = State::Left;
            caller.read_when_over = self.log.lock().read;
        }
    }

    /// Time passes, with everything run in between or not.
    async fn pass(&mut self, mut time: u64, then: Then) -> Result<(), String> {
        let rests = matches!(then, Then::Rest);
        while time > 0 {
            let now = if rests { time.min(TICK) } else { time };
            time -= now;
            self.clock.advance(Duration::from_millis(now));
            tokio::time::advance(Duration::from_millis(now)).await;
            if rests {
                self.rest()?;
            } else {
                self.jumped = self.clock.now();
            }
        }
        Ok(())
    }

    fn end(&mut self, ending: Ending) -> Result<(), String> {
        if self.ended.is_some() {
            return Ok(());
        }
        match ending {
            Ending::HangUp => {
                self.causes.broken = true;
                self.wire.hang_up();
            }
            Ending::Reset => {
                self.causes.broken = true;
                self.causes.reset = true;
                self.wire.reset();
            }
            Ending::WriteFails(after) => {
                self.causes.broken = true;
                self.wire.fail_after(after);
            }
            Ending::Nonsense => self.goes_mad(b"@nonsense\r\n"),
            Ending::Unasked => {
                // A request that waits, or comes, would be given it.
                self.serve(Form::Nil, 0)?;
                self.rest()?;
                self.receive(usize::MAX)?;
                let asked = self.log.lock().offered.len();
                if asked > 0 && asked == self.server.received.len() && self.server.asked.is_empty() {
                    self.goes_mad(b"+unasked\r\n");
                    self.server.send(usize::MAX)?;
                    self.rest()?;
                }
            }
            Ending::Panic => {
                self.causes.panic = true;
                self.wire.panic();
            }
            Ending::Close => {
                self.causes.closed = true;
                self.connection.iter().for_each(Connection::close);
            }
            Ending::Runtime => {
                drop(self.driver.take());
                self.has_ended(Why::Runtime)?;
            }
        }
        Ok(())
    }

    fn goes_mad(&mut self, bytes: &[u8]) {
        if !self.server.mad {
            self.causes.nonsense = true;
            self.server.mad = true;
            let _ = self.server.reply(bytes);
        }
    }
}
