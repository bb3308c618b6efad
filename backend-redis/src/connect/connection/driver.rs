//! The task that writes the requests of a connection, and reads the replies.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{io, mem, thread};

use redis::{PushInfo, RedisResult, Value};
use stanchion::clock::Clock;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use super::backlog::Backlog;
use super::deadlines::Deadlines;
use super::end::{End, Ended};
use super::events::ConnectionEvents;
use super::gathering::{Gathering, MGET_MAX};
use super::in_flight::InFlight;
use super::incoming::Incoming;
use super::outgoing::Outgoing;
use super::pacing::Pacing;
use super::pending::Pending;
use super::pending_commands::PendingCommands;
use super::pending_reads::{Outcome, PendingReads, ReadForm};
use super::request::{Read, Request};
use super::room;
use super::status::Status;
use super::traffic::Traffic;
use crate::connect::context::Context as Shared;
use crate::connect::purpose::Purpose;

/// With so many reads in flight the others wait: enough for a server that is far, and where one hangs the others are not
/// sent once their deadline is over.
pub(super) const MAX_READS_IN_FLIGHT: usize = 4_096;
/// While the server leaves so many bytes to be written, no commands are added to them.
pub(super) const MAX_UNWRITTEN: usize = 1_024 * 1_024;
/// So many requests are taken from the callers' channel at once.
const RECEIVED_AT_ONCE: usize = 4_096;

pub(super) struct Driver<S> {
    stream: S,
    requests: mpsc::UnboundedReceiver<Request>,
    // Room for those that have just come.
    received: Vec<Request>,
    backlog: Backlog,
    outgoing: Outgoing,
    in_flight: InFlight,
    // A request was sent.
    greeted: bool,
    incoming: Incoming,
    pacing: Pacing,
    deadlines: Deadlines,
    gathering: Gathering,
    // Writing has failed, which ends the connection when all that has come is delivered: a server that replies and goes
    // leaves nobody in doubt.
    failed: Option<io::Error>,
    events: Option<Arc<dyn ConnectionEvents>>,
    traffic: Traffic,
    status: Arc<Status>,
    // It has come to its end, and everybody knows.
    ended: bool,
    context: Arc<Shared>,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Driver<S> {
    pub(super) fn new(
        stream: S,
        requests: mpsc::UnboundedReceiver<Request>,
        events: Option<Arc<dyn ConnectionEvents>>,
        purpose: Purpose,
        status: &Arc<Status>,
        context: &Arc<Shared>,
    ) -> Self {
        Self {
            stream,
            requests,
            received: Vec::new(),
            backlog: Backlog::default(),
            outgoing: Outgoing::default(),
            in_flight: InFlight::default(),
            greeted: false,
            incoming: Incoming::default(),
            pacing: Pacing::default(),
            deadlines: Deadlines::default(),
            gathering: Gathering::default(),
            failed: None,
            events,
            traffic: Traffic::of(context.telemetry.of(purpose)),
            status: Arc::clone(status),
            ended: false,
            context: Arc::clone(context),
        }
    }

    pub(super) async fn run(mut self) {
        let end = poll_fn(|cx| self.run_once(cx)).await;
        self.end(&end).await;
    }

    /// Does what can be done now; ready at the end of the connection.
    pub(super) fn run_once(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.status.polled();
        // What is half done then is not looked at any more: only those who wait for a reply learn that there will be none.
        let Ok(polled) = catch_unwind(AssertUnwindSafe(|| self.poll(cx))) else {
            return Poll::Ready(End::Panicked);
        };
        self.settle();
        polled
    }

    /// Counts what the task has done, and gives back the room that it does not need any more.
    fn settle(&mut self) {
        self.traffic.polled(self.in_flight.requests());
        self.backlog.settle(&self.status);
        self.in_flight.shrink();
        room::shrink_vec(&mut self.received);
    }

    /// Notifies everybody of the end.
    pub(super) async fn end(&mut self, end: &End) {
        self.status.end(end.code());
        if let End::Panicked = end {
            tracing::error!("the task that drives a connection has panicked; it is given up");
        }
        // Before any caller knows, who would try again at once.
        if let (End::Broken(_) | End::Panicked, Some(events)) = (end, &self.events) {
            events.broken();
        }
        mem::take(&mut self.in_flight).fail(end, self.outgoing.written());
        mem::take(&mut self.backlog).refuse(end);
        self.received.drain(..).for_each(|request| request.refuse(end));
        self.requests.close();
        // Also those that are being sent at this moment.
        while let Some(request) = self.requests.recv().await {
            request.refuse(end);
        }
        self.ended = true;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let clock = Arc::clone(&self.context.environment.clock);
        self.pacing.polled(&*clock);
        if let Poll::Ready(end) = self.receive(cx) {
            return Poll::Ready(end);
        }
        self.send(cx);
        loop {
            match self.deliver() {
                Ok(true) => {}
                Ok(false) => {
                    self.pacing.yields(&*clock);
                    // Tokio puts a task that wakes itself behind those that are ready to run, where any of its threads can take
                    // it. One that yields stays with its thread, for as long as a caller that it has woken computes there.
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Err(failure) => return Poll::Ready(End::Broken(failure)),
            }
            // There may be room for more now, or something to be read again.
            self.send(cx);
            self.greeted |= self.in_flight.requests() > 0;
            if !self.greeted {
                // Whatever a server says of its own accord is its reply to the first request.
                return Poll::Pending;
            }
            let failure = match self.incoming.read(&mut self.stream, cx) {
                Poll::Ready(Ok(0)) => {
                    self.failed.take().unwrap_or_else(|| io::ErrorKind::UnexpectedEof.into())
                }
                Poll::Ready(Ok(bytes)) => {
                    self.traffic.read(bytes);
                    self.status.progressed(bytes);
                    continue;
                }
                // It says more than that a write has failed.
                Poll::Ready(Err(failure)) => failure,
                Poll::Pending => {
                    self.pacing.waits();
                    // Not before what has come in time is delivered, if this task is run late.
                    self.time_out(cx, &*clock);
                    let Some(failure) = self.failed.take() else { return Poll::Pending };
                    failure
                }
            };
            return Poll::Ready(End::Broken(failure.into()));
        }
    }

    /// Takes the requests of callers; ready if the connection ends by their wish.
    fn receive(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        while let Poll::Ready(count) = self.requests.poll_recv_many(cx, &mut self.received, RECEIVED_AT_ONCE)
        {
            if count == 0 {
                return Poll::Ready(End::Unwanted);
            }
            let mut closes = false;
            for request in self.received.drain(..) {
                match request {
                    Request::Close => closes = true,
                    request => self.backlog.push(request, &mut self.deadlines),
                }
            }
            if closes {
                return Poll::Ready(End::Closed);
            }
        }
        Poll::Pending
    }

    fn time_out(&mut self, cx: &mut Context<'_>, clock: &dyn Clock) {
        while let Poll::Ready(now) = self.deadlines.poll(cx, clock) {
            self.in_flight.time_out(now, &mut self.deadlines);
            self.backlog.time_out(now, &mut self.deadlines);
        }
    }

    /// Sends the backlog, as far as there is room.
    fn send(&mut self, cx: &mut Context<'_>) {
        while self.failed.is_none() {
            self.fill_outgoing();
            let before = self.outgoing.len();
            let written = self.outgoing.write(&mut self.stream, cx);
            let sent = before - self.outgoing.len();
            self.traffic.written(sent);
            // All of it may be swallowed by the system, for a server that is not there any more.
            if self.outgoing.len() > 0 {
                self.status.progressed(sent);
            }
            match written {
                // There is room for more of them.
                Poll::Ready(Ok(())) if self.backlog.has_commands() => {}
                Poll::Ready(Err(failure)) => self.failed = Some(failure),
                _ => return,
            }
        }
    }

    fn fill_outgoing(&mut self) {
        while self.outgoing.len() < MAX_UNWRITTEN
            && let Some((commands, packed)) = self.backlog.next_commands()
        {
            if let Some(pending) = PendingCommands::new(commands) {
                self.in_flight.push(Pending::Commands(pending), self.outgoing.end());
                self.outgoing.packed(&packed);
            }
        }
        let room = MAX_READS_IN_FLIGHT.saturating_sub(self.in_flight.reads());
        let reads = self.backlog.next_reads(room);
        // On a Cluster a command has keys of one slot only.
        if self.context.cluster || !self.gathering.gathers(reads.len(), &*self.context.environment.clock) {
            return self.add_reads(reads, ReadForm::Get);
        }
        let mut reads = reads.into_iter();
        while reads.len() > 0 {
            self.add_reads(reads.by_ref().take(MGET_MAX).collect(), ReadForm::Mget);
        }
    }

    fn add_reads(&mut self, reads: Vec<Read>, form: ReadForm) {
        if reads.is_empty() {
            return;
        }
        let begins = self.outgoing.end();
        let layout = &self.context.layout;
        let keys = reads.iter().map(|read| layout.key(&read.key));
        if form == ReadForm::Mget {
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
        self.in_flight.push(Pending::Reads(PendingReads::new(reads, form)), begins);
    }

    /// Delivers a share of the replies that have come; answers whether that is all of them.
    fn deliver(&mut self) -> RedisResult<bool> {
        while !self.incoming.is_empty() {
            if self.failed.is_none() && self.pacing.is_used_up(self.in_flight.requests()) {
                return Ok(false);
            }
            if self.incoming.is_pushed() {
                let Some(value) = self.incoming.value()? else { break };
                self.pushed(value);
                continue;
            }
            let Some(handled) = self.in_flight.read_reply(&mut self.incoming)? else { break };
            self.pacing.replied(handled.replied);
            if let Some(finished) = handled.finished {
                self.finish(finished);
            }
        }
        Ok(true)
    }

    fn finish(&mut self, pending: Pending) {
        match pending {
            Pending::Commands(commands) => commands.reply(),
            Pending::Reads(reads) => self.read_again(reads.outcome()),
        }
    }

    /// Sends the reads once more that have no reply yet.
    fn read_again(&mut self, outcome: Outcome) {
        self.gathering.learn(&outcome, &*self.context.environment.clock);
        let again = outcome.again.into_iter().flatten().filter(|read| !read.is_cancelled()).collect();
        self.add_reads(again, ReadForm::GetAgain { denied: outcome.denied });
    }

    fn pushed(&mut self, value: Value) {
        let Value::Push { kind, data } = value else { return };
        if let Some(confirmed) = self.in_flight.confirm(&kind) {
            self.finish(confirmed);
        }
        if let Some(events) = &self.events {
            events.pushed(PushInfo { kind, data });
        }
    }
}

/// The runtime drops its tasks when it is shut down; whoever still waits is on another one.
impl<S> Drop for Driver<S> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if thread::panicking() {
            return self.status.end(Ended::Panicked);
        }
        // It may have been closed, and its runtime have ended before the task came by.
        self.status.end_unless_known(Ended::WithRuntime);
        if let Some(events) = &self.events {
            events.broken();
        }
    }
}

#[cfg(test)]
impl<S> Driver<S> {
    /// The requests in flight, and the reads among them.
    pub(super) fn in_flight(&self) -> (usize, usize) {
        (self.in_flight.requests(), self.in_flight.reads())
    }

    /// For how much there is room in each of its queues.
    pub(super) fn capacities(&self) -> [usize; 5] {
        [
            self.received.capacity(),
            self.backlog.capacity(),
            self.in_flight.capacity(),
            self.outgoing.capacity(),
            self.incoming.capacity(),
        ]
    }
}
