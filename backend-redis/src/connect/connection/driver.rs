//! The task that writes the requests of a connection, and reads the replies.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, mem};

use redis::{PushInfo, RedisError, RedisResult, Value};
use stanchion::clock::Clock;
use stanchion::{Error, ErrorKind};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::Events;
use super::answering::Answering;
use super::asked::Asked;
use super::deadlines::Deadlines;
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::reads::{Form, Outcome, Reads, expire};
use super::request::{Commands, Read, Request, closed, never_sent};
use super::turn::Turn;
use crate::connect::Context as Shared;
use crate::error::{self, Access};

/// With so many reads on their way the others wait: enough for a server that is far, and where one hangs the others are not
/// asked for once their time is over.
const ON_THEIR_WAY: usize = 4_096;
/// So many reads wait, and so many commands; more are refused, as the server is far behind.
const WAITING: usize = 65_536;
/// While the server leaves so many bytes to be written, no commands are added to them.
const UNWRITTEN: usize = 1_024 * 1_024;
/// From so many keys on that are read at the same time, they are asked for together.
const MANY: usize = 8;
/// So many keys has one `MGET`, so that the server turns to others in between.
const KEYS: usize = 64;

pub(super) struct Driver<S> {
    stream: S,
    requests: mpsc::UnboundedReceiver<Request>,
    // Room for those that have just come.
    came: Vec<Request>,
    commands: VecDeque<Commands>,
    reads: VecDeque<Option<Read>>,
    outgoing: Outgoing,
    asked: VecDeque<Asked>,
    // With more of them those are dropped whose callers have left.
    most_commands: usize,
    // Requests that were sent and are not answered, and how many of them are reads.
    on_their_way: usize,
    reads_on_their_way: usize,
    // Something was asked.
    greeted: bool,
    incoming: Incoming,
    turn: Turn,
    deadlines: Deadlines,
    // Many of the keys that were read last held nothing.
    sparse: bool,
    // The server, or its ACL, refuses `MGET`.
    refused: bool,
    // Writing has failed, which is told when all that has come is handed out: a server that answers and goes leaves nobody in
    // doubt.
    failed: Option<io::Error>,
    events: Option<Arc<dyn Events>>,
    context: Arc<Shared>,
}

/// Why a connection ends.
enum End {
    /// Nobody has it any more.
    Unwanted,
    Closed,
    Broken(RedisError),
}

impl End {
    /// What it means for those who wait for a reply,
    fn of_asked(&self, access: Access) -> Error {
        match self {
            Self::Unwanted | Self::Closed => closed(access),
            // Also where the system says that a connection was refused, which was there.
            Self::Broken(failure) => error::from_client(failure, access).with_effect(access.unanswered()),
        }
    }

    /// and for those whose requests were not sent.
    fn of_waiting(&self) -> Error {
        match self {
            Self::Unwanted | Self::Closed => closed(Access::Read),
            Self::Broken(_) => never_sent(),
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn new(
        stream: S,
        requests: mpsc::UnboundedReceiver<Request>,
        events: Option<Arc<dyn Events>>,
        context: &Arc<Shared>,
    ) -> Self {
        Self {
            stream,
            requests,
            came: Vec::new(),
            commands: VecDeque::new(),
            reads: VecDeque::new(),
            outgoing: Outgoing::default(),
            asked: VecDeque::new(),
            most_commands: ON_THEIR_WAY,
            on_their_way: 0,
            reads_on_their_way: 0,
            greeted: false,
            incoming: Incoming::default(),
            turn: Turn::default(),
            deadlines: Deadlines::default(),
            sparse: false,
            refused: false,
            failed: None,
            events,
            context: Arc::clone(context),
        }
    }

    pub(super) async fn run(mut self) {
        let end = poll_fn(|cx| self.poll(cx)).await;
        // Before anybody is told, who would try again at once.
        if let (End::Broken(_), Some(events)) = (&end, &self.events) {
            events.broken();
        }
        self.asked.into_iter().for_each(|asked| asked.fail(|access| end.of_asked(access)));
        let commands = self.commands.into_iter().map(Request::Commands);
        let waiting = commands.chain(self.reads.into_iter().flatten().map(Request::Read));
        waiting.for_each(|request| request.refuse(end.of_waiting()));
        self.requests.close();
        // Also what is being handed over at this moment.
        while let Some(request) = self.requests.recv().await {
            request.refuse(end.of_waiting());
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let clock = Arc::clone(&self.context.environment.clock);
        self.turn.begin(&*clock);
        if let Poll::Ready(end) = self.receive(cx) {
            return Poll::Ready(end);
        }
        self.ask(cx);
        loop {
            match self.hand_out() {
                Ok(true) => {}
                Ok(false) => {
                    self.turn.end(&*clock);
                    // Tokio puts a task that wakes itself behind those that are ready to run, where any of its threads can take
                    // it. One that yields stays with its thread, for as long as a caller that it has woken computes there.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(failure) => return Poll::Ready(End::Broken(failure)),
            }
            // There may be more room now, or something to be asked again.
            self.ask(cx);
            self.greeted |= self.on_their_way > 0;
            if !self.greeted {
                // Whatever a server says of its own accord is its answer to the first request.
                return Poll::Pending;
            }
            let failure = match self.incoming.read(&mut self.stream, cx) {
                Poll::Ready(Ok(1..)) => continue,
                Poll::Ready(Ok(0)) => {
                    self.failed.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
                }
                // It says more than that a write has failed.
                Poll::Ready(Err(failure)) => failure,
                Poll::Pending => {
                    self.turn.all_is_answered();
                    // Not before what has come in time is handed out, if this task is run late.
                    self.expire(cx, &*clock);
                    let Some(failure) = self.failed.take() else { return Poll::Pending };
                    failure
                }
            };
            return Poll::Ready(End::Broken(failure.into()));
        }
    }

    /// Takes what callers want; ready if nobody will ever want anything again, or may.
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while let Poll::Ready(count) = self.requests.poll_recv_many(cx, &mut self.came, ON_THEIR_WAY) {
            if count == 0 {
                return Poll::Ready(End::Unwanted);
            }
            let mut closes = false;
            for request in self.came.drain(..) {
                match request {
                    Request::Commands(commands) if self.commands.len() < WAITING => {
                        self.commands.push_back(commands);
                    }
                    Request::Read(read) if self.reads.len() < WAITING => {
                        self.deadlines.note(read.due);
                        self.reads.push_back(Some(read));
                    }
                    Request::Close => closes = true,
                    one_too_many => one_too_many.refuse(too_many()),
                }
            }
            if closes {
                return Poll::Ready(End::Closed);
            }
            if self.commands.len() > self.most_commands {
                self.commands.retain(|commands| !commands.is_forgotten());
                self.most_commands = 2 * self.commands.len() + ON_THEIR_WAY;
            }
        }
        Poll::Pending
    }

    fn expire(&mut self, cx: &mut Context<'_>, clock: &dyn Clock) {
        while let Poll::Ready(now) = self.deadlines.poll(cx, clock) {
            for asked in &mut self.asked {
                if let Some(due) = asked.expire(now) {
                    self.deadlines.note(due);
                }
            }
            self.reads.retain_mut(|read| {
                let Some(due) = expire(read, now) else { return false };
                self.deadlines.note(due);
                true
            });
        }
    }

    /// Asks for what waits, as far as that is not too much.
    fn ask(&mut self, cx: &mut Context<'_>) {
        while self.failed.is_none() {
            self.send();
            match self.outgoing.write(&mut self.stream, cx) {
                // There is room for more of them.
                Poll::Ready(Ok(())) if !self.commands.is_empty() => {}
                Poll::Ready(Err(failure)) => self.failed = Some(failure),
                _ => return,
            }
        }
    }

    /// Who has left is not asked for.
    fn send(&mut self) {
        while self.outgoing.len() < UNWRITTEN
            && let Some(commands) = self.commands.pop_front()
        {
            self.run_commands(commands);
        }
        let mut reads = Vec::new();
        while self.reads_on_their_way + reads.len() < ON_THEIR_WAY
            && let Some(read) = self.reads.pop_front()
        {
            reads.extend(read.filter(|read| !read.is_forgotten()));
        }
        // On a Cluster a command has keys of one slot only.
        let together = reads.len() >= MANY && !self.sparse && !self.refused && !self.context.cluster;
        if !together {
            return self.ask_for(reads, Form::Each);
        }
        let mut reads = reads.into_iter();
        while reads.len() > 0 {
            self.ask_for(reads.by_ref().take(KEYS).collect(), Form::Together);
        }
    }

    fn run_commands(&mut self, mut commands: Commands) {
        if commands.is_forgotten() {
            return;
        }
        let packed = mem::take(&mut commands.packed);
        if let Some(answering) = Answering::new(commands) {
            self.outgoing.packed(&packed);
            self.on_their_way += 1;
            self.asked.push_back(Asked::Commands(answering));
        }
    }

    fn ask_for(&mut self, reads: Vec<Read>, form: Form) {
        if reads.is_empty() {
            return;
        }
        let layout = &self.context.layout;
        let keys = reads.iter().map(|read| layout.key(&read.key));
        if form == Form::Together {
            self.outgoing.begin(1 + reads.len());
            self.outgoing.word("MGET");
            keys.for_each(|key| self.outgoing.word(&key));
        } else {
            for key in keys {
                self.outgoing.begin(2);
                self.outgoing.word("GET");
                self.outgoing.word(&key);
            }
        }
        self.on_their_way += reads.len();
        self.reads_on_their_way += reads.len();
        self.asked.push_back(Asked::Reads(Reads::new(reads, form)));
    }

    /// Hands out what is due of what has come; answers whether that is all of it.
    fn hand_out(&mut self) -> RedisResult<bool> {
        while !self.incoming.is_empty() {
            if self.failed.is_none() && self.turn.is_over(self.on_their_way) {
                return Ok(false);
            }
            if self.incoming.is_pushed() {
                let Some(value) = self.incoming.value()? else { break };
                self.pushed(value);
                continue;
            }
            let Some(asked) = self.asked.front_mut() else { return Err(unasked()) };
            let Some(taken) = asked.take(&mut self.incoming)? else { break };
            self.on_their_way -= taken.answers;
            if let Asked::Reads(_) = asked {
                self.reads_on_their_way -= taken.answers;
            }
            self.turn.answered(taken.answers);
            if taken.done
                && let Some(asked) = self.asked.pop_front()
            {
                self.done(asked);
            }
        }
        Ok(true)
    }

    fn done(&mut self, asked: Asked) {
        match asked {
            Asked::Commands(answering) => answering.answer(),
            Asked::Reads(reads) => self.learn(reads.outcome()),
        }
    }

    fn learn(&mut self, outcome: Outcome) {
        match outcome.form {
            // It was the command that is denied, and not one of the keys.
            Form::Again { denied } => self.refused |= denied && outcome.fine,
            _ if outcome.denied => {}
            _ => self.sparse = outcome.sparse,
        }
        if !outcome.again.is_empty() {
            self.on_their_way -= outcome.again.len();
            self.reads_on_their_way -= outcome.again.len();
            let again = outcome.again.into_iter().flatten().filter(|read| !read.is_forgotten()).collect();
            self.ask_for(again, Form::Again { denied: outcome.denied });
        }
    }

    fn pushed(&mut self, value: Value) {
        let Value::Push { kind, data } = value else { return };
        if let Some(Asked::Commands(answering)) = self.asked.front_mut()
            && answering.confirm(&kind)
            && let Some(asked) = self.asked.pop_front()
        {
            self.on_their_way -= 1;
            self.done(asked);
        }
        if let Some(events) = &self.events {
            events.pushed(PushInfo { kind, data });
        }
    }
}

fn too_many() -> Error {
    Error::new(ErrorKind::Throttled, format!("{WAITING} requests wait for this server already"))
        .with_retry_after(Duration::from_millis(100))
}

/// A reply to no request: whatever follows would be taken for the reply to another.
fn unasked() -> RedisError {
    RedisError::from((redis::ErrorKind::Parse, "the server has answered what it was not asked"))
}

#[cfg(test)]
mod tests;
