//! Doing the actions of a sequence.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use redis::{Cmd, Pipeline};
use stanchion::clock::Clock;
use stanchion::key::Key;
use stanchion::{Effect, ErrorKind};

use super::caller::{Answer, ReadOutcome, State, Wish};
use super::replies;
use super::requests::{self, Asked, name};
use super::step::{Action, Ending, Form, Patience, Step, Then};
use super::world::{Why, World};
use super::{DEADLINE, TICK};
use crate::connect::connection::Connection;
use crate::connect::connection::late::within;
use crate::connect::progress::while_it_comes;
use crate::error::Access;

impl World {
    pub(super) async fn step(&mut self, step: &Step) -> Result<(), String> {
        self.act(&step.action, step.then).await?;
        self.run(step.then)
    }

    /// One who calls, and is not run yet.
    pub(super) fn call(&mut self, action: &Action) -> Result<(), String> {
        match *action {
            Action::Send { commands, size, writes, patience } => self.send(commands, size, writes, patience),
            Action::Subscribe { channels, begins, patience } => self.subscribe(channels, begins, patience),
            Action::Read { keys, deadline } => (0..keys).try_for_each(|_| self.read(deadline)),
            Action::Heartbeat => self.heartbeat(),
            _ => Ok(()),
        }
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

    fn send(&mut self, commands: usize, size: usize, writes: bool, patience: Patience) -> Result<(), String> {
        let Some(connection) = self.connection.clone() else { return Ok(()) };
        let caller = self.callers.len();
        let access = if writes { Access::Write } else { Access::Read };
        let mut pipeline = Pipeline::with_capacity(commands);
        for at in 0..commands {
            pipeline.add_command(set(caller, at, size));
        }
        let packed = pipeline.get_packed_pipeline();
        let future = async move {
            let send = || async {
                if commands == 1 {
                    let command = set(caller, 0, size);
                    return connection.raw_command(&command, access).await.map(|value| vec![value]);
                }
                connection.pipeline(&pipeline, access).await
            };
            let send = || async { send().await.map(Answer::Values) };
            patiently(&connection, patience, access, send).await
        };
        self.calls(Wish::Commands { packed, replies: commands, access }, patience, future.boxed_local())
    }

    fn subscribe(&mut self, count: usize, begins: bool, patience: Patience) -> Result<(), String> {
        let Some(connection) = self.connection.clone() else { return Ok(()) };
        let caller = self.callers.len();
        let channels: Vec<_> = (0..count).map(|at| name(caller, at)).collect();
        let command = if begins { "SUBSCRIBE" } else { "UNSUBSCRIBE" };
        let packed = redis::cmd(command).arg(&channels).get_packed_command();
        let future = async move {
            let send = || async {
                let changed = if begins {
                    connection.subscribe(&channels).await
                } else {
                    connection.unsubscribe(&channels).await
                };
                changed.map(|()| Answer::Done)
            };
            patiently(&connection, patience, Access::Read, send).await
        };
        self.calls(Wish::Channels { packed }, patience, future.boxed_local())
    }

    fn read(&mut self, deadline: u64) -> Result<(), String> {
        let Some(connection) = self.connection.clone() else { return Ok(()) };
        let key = Key::new("cache", "t", requests::key(self.callers.len())).map_err(|why| why.to_string())?;
        let future = async move {
            let found = connection.get(&key, Duration::from_millis(deadline)).await;
            Answer::of(found, |found| Answer::Found(found.map(|bytes| bytes.to_vec())))
        };
        self.calls(Wish::Read, Patience::Deadline(deadline), future.boxed_local())
    }

    fn heartbeat(&mut self) -> Result<(), String> {
        let Some(connection) = self.connection.clone() else { return Ok(()) };
        let mut pipeline = Pipeline::with_capacity(1);
        pipeline.add_command(set(self.callers.len(), 0, 0));
        let packed = pipeline.get_packed_pipeline();
        let context = Arc::clone(&self.context);
        let future =
            async move { Answer::of(connection.heartbeat(&pipeline, &context).await, Answer::Values) };
        let patience = Patience::Extended(u64::try_from(DEADLINE.as_millis()).unwrap_or(u64::MAX));
        let wish = Wish::Commands { packed, replies: 1, access: Access::Read };
        self.calls(wish, patience, future.boxed_local())
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

    pub(super) fn receive(&mut self, bytes: usize) -> Result<(), String> {
        self.server.receive(bytes)?;
        self.check_received()
    }

    /// So large are replies that should have this size, where there are many: more bytes take long.
    fn size_of_each(&self, size: usize) -> usize {
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
    fn reply(&mut self, form: Form, size: usize) {
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

fn set(caller: usize, at: usize, size: usize) -> Cmd {
    let mut command = redis::cmd("SET");
    command.arg(name(caller, at)).arg(replies::filled("v", size));
    command
}

/// As operations wait for their requests.
async fn patiently<F: Future<Output = stanchion::Result<Answer>>>(
    connection: &Connection,
    patience: Patience,
    access: Access,
    send: impl FnOnce() -> F,
) -> Answer {
    let same = |answer| answer;
    match patience {
        Patience::Forever => Answer::of(send().await, same),
        Patience::Deadline(time) => match within(Duration::from_millis(time), send).await {
            Ok(outcome) => Answer::of(outcome, same),
            Err(late) => Answer::Late(late),
        },
        Patience::Extended(silence) => {
            let silence = Duration::from_millis(silence);
            Answer::of(while_it_comes(connection, silence, access, send).await, same)
        }
    }
}
