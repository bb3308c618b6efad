//! A driver on a wire, its callers and its server, run by hand in one thread.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use futures_util::future::LocalBoxFuture;
use redis::{ErrorKind as ClientErrorKind, PushInfo};
use stanchion::clock::{Clock, ManualClock};
use stanchion::environment::Environment;
use stanchion::time::Monotonic;

use super::super::{ConnectionEvents, Shared};
use super::caller::{Answer, Caller, CallerWaker, DriverWaker, State, Wish, Woken};
use super::requests::{self, Asked};
use super::server::Server;
use super::step::{Patience, Then};
use super::tap::{Log, Tap};
use super::wire::Wire;
use super::{DEADLINE, Setting};
use crate::config::RedisConfig;
use crate::connect::connection::Connection;
use crate::connect::connection::driver::Driver;
use crate::connect::connection::end::End;
use crate::connect::connection::gathering::MGET_MAX;
use crate::connect::purpose::Purpose;

/// More often nothing is run for one step.
const MOST_ROUNDS: usize = 200_000;

pub(super) struct World {
    pub(super) clock: ManualClock,
    pub(super) context: Arc<Shared>,
    pub(super) connection: Option<Connection>,
    pub(super) driver: Option<Driver<Tap>>,
    pub(super) driver_woken: Arc<DriverWaker>,
    pub(super) woken: Woken,
    pub(super) callers: Vec<Caller>,
    pub(super) server: Server,
    pub(super) wire: Wire,
    pub(super) log: Log,
    pub(super) notes: Arc<Notes>,
    /// How often the driver has run.
    pub(super) polls: u64,
    /// So many bytes were taken before it ran last.
    pub(super) taken_before: usize,
    // So much of what is packed is looked at.
    looked_at: usize,
    // The last callers of which something is packed.
    last_command: Option<usize>,
    last_read: Option<usize>,
    pub(super) causes: Causes,
    pub(super) ended: Option<Ended>,
    /// When time last passed without everything having run in between.
    pub(super) jumped: Monotonic,
    /// What has come about.
    pub(super) reached: Reached,
}

/// Names of what comes about in sequences.
pub(super) type Reached = BTreeSet<&'static str>;

/// What may end the connection.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "one fact each")]
pub(super) struct Causes {
    pub(super) closed: bool,
    pub(super) broken: bool,
    pub(super) nonsense: bool,
    pub(super) panic: bool,
}

pub(super) struct Ended {
    pub(super) why: Why,
    /// So many bytes the stream had taken by then,
    pub(super) taken: usize,
    /// and of so many the server can know.
    pub(super) left: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Unwanted,
    Closed,
    Broken,
    Nonsense,
    Panicked,
    Runtime,
}

/// What the connection notifies of.
#[derive(Default)]
pub(super) struct Notes {
    pub(super) pushed: Mutex<Vec<PushInfo>>,
    pub(super) broken: AtomicUsize,
}

impl ConnectionEvents for Notes {
    fn pushed(&self, info: PushInfo) {
        self.pushed.lock().unwrap_or_else(PoisonError::into_inner).push(info);
    }

    fn broken(&self) {
        let _ = self.broken.fetch_add(1, Ordering::Relaxed);
    }
}

impl World {
    pub(super) fn new(setting: Setting) -> Self {
        let (clock, wire, log) = (ManualClock::new(), Wire::default(), Log::default());
        let config = if setting.cluster {
            RedisConfig::cluster(["redis://localhost"])
        } else {
            RedisConfig::standalone("redis://localhost")
        };
        let environment = Environment::system().clock(Arc::new(clock.clone()));
        let context = Shared::new(&config.unwrap().deadline(DEADLINE), environment);
        let (stream, server) = setting.connect(&wire);
        let (notes, tap) = (Arc::new(Notes::default()), Tap::new(stream, &log, &clock));
        let events = Some(Arc::clone(&notes) as _);
        let (connection, driver) = Connection::driven_by_hand(tap, events, Purpose::Commands, &context);
        let driver_woken = Arc::new(DriverWaker(AtomicBool::new(true)));
        Self {
            jumped: clock.now(),
            clock,
            context,
            connection: Some(connection),
            driver: Some(driver),
            driver_woken,
            woken: Arc::new(Mutex::new(VecDeque::new())),
            callers: Vec::new(),
            server,
            wire,
            log,
            notes,
            polls: 0,
            taken_before: 0,
            looked_at: 0,
            last_command: None,
            last_read: None,
            causes: Causes::default(),
            ended: None,
            reached: Reached::new(),
        }
    }

    /// A new caller, whose future is polled once.
    pub(super) fn calls(
        &mut self,
        wish: Wish,
        patience: Patience,
        future: LocalBoxFuture<'static, Answer>,
    ) -> Result<(), String> {
        let caller = self.callers.len();
        let waker = CallerWaker { caller, woken: Arc::clone(&self.woken), is_woken: AtomicBool::new(false) };
        let mut new = Caller::new(wish, patience, self.clock.now(), self.polls, Arc::new(waker));
        new.state = State::Waits(future);
        self.callers.push(new);
        self.run_caller(caller)
    }

    pub(super) fn run(&mut self, then: Then) -> Result<(), String> {
        match then {
            Then::Rest => self.rest(),
            Then::Driver => self.run_driver(),
            Then::Callers => self.run_callers(),
            Then::Nothing => Ok(()),
        }
    }

    /// Runs who is woken, until nobody is.
    pub(super) fn rest(&mut self) -> Result<(), String> {
        for _ in 0..MOST_ROUNDS {
            if self.driver_woken.0.load(Ordering::Relaxed) {
                self.run_driver()?;
            }
            self.run_callers()?;
            let is_woken = self.driver.is_some() && self.driver_woken.0.load(Ordering::Relaxed);
            if !is_woken && self.woken.lock().unwrap().is_empty() {
                return self.check_at_rest();
            }
        }
        Err("it does not come to rest".to_owned())
    }

    fn run_callers(&mut self) -> Result<(), String> {
        let woken = std::mem::take(&mut *self.woken.lock().unwrap());
        woken.into_iter().try_for_each(|caller| self.run_caller(caller))
    }

    fn run_caller(&mut self, at: usize) -> Result<(), String> {
        let caller = &mut self.callers[at];
        caller.waker.is_woken.store(false, Ordering::Relaxed);
        let State::Waits(future) = &mut caller.state else { return Ok(()) };
        let waker = Waker::from(Arc::clone(&caller.waker));
        let Poll::Ready(answer) = future.as_mut().poll(&mut Context::from_waker(&waker)) else {
            return Ok(());
        };
        caller.state = State::Answered;
        caller.read_when_over = self.log.lock().read;
        let reached = self.check_answer(at, &answer).map_err(|why| format!("caller {at}: {why}"))?;
        let _ = self.reached.insert(reached);
        Ok(())
    }

    fn run_driver(&mut self) -> Result<(), String> {
        let Some(driver) = &mut self.driver else { return Ok(()) };
        self.driver_woken.0.store(false, Ordering::Relaxed);
        let waker = Waker::from(Arc::clone(&self.driver_woken));
        self.polls += 1;
        self.taken_before = self.log.lock().taken;
        let polled = driver.run_once(&mut Context::from_waker(&waker));
        self.look_at_what_is_packed()?;
        self.look_at_the_callers();
        if let Poll::Ready(end) = polled {
            self.driver_ends(&end)?;
        }
        Ok(())
    }

    fn driver_ends(&mut self, end: &End) -> Result<(), String> {
        let (why, caused) = match end {
            End::Unwanted => (Why::Unwanted, self.connection.is_none()),
            End::Closed => (Why::Closed, self.causes.closed),
            End::Broken(failure) if failure.kind() == ClientErrorKind::Io => {
                (Why::Broken, self.causes.broken)
            }
            End::Broken(_) => (Why::Nonsense, self.causes.nonsense),
            End::Panicked => (Why::Panicked, self.causes.panic),
        };
        if !caused {
            return Err(format!("the connection has ended for no reason: {end:?}"));
        }
        self.has_ended(why)?;
        let driver = self.driver.take();
        let ending = driver.and_then(|mut driver| driver.end(end).now_or_never());
        ending.ok_or_else(|| "the driver waits at its end".to_owned())
    }

    /// Notes what has left.
    pub(super) fn has_ended(&mut self, why: Why) -> Result<(), String> {
        self.server.receive(usize::MAX)?;
        let (taken, left) = (self.log.lock().taken, self.server.received.len());
        if left > taken {
            return Err(format!("{left} bytes have left, and {taken} were taken"));
        }
        self.check_received()?;
        self.ended = Some(Ended { why, taken, left });
        Ok(())
    }

    fn look_at_what_is_packed(&mut self) -> Result<(), String> {
        let of = |caller: usize| move |why: &str| format!("caller {caller}: {why}");
        let log = self.log.clone();
        let log = log.lock();
        if let Some(wrong) = log.wrong {
            return Err(wrong.to_owned());
        }
        while self.looked_at < log.offered.len() {
            let begins = self.looked_at;
            let rest = &log.offered[begins..];
            let first = requests::first(rest)?;
            let (asked, length) = first.ok_or_else(|| "half a request is to be written".to_owned())?;
            self.looked_at += match asked {
                Asked::Command { caller, .. } | Asked::Channels { caller, .. } => {
                    self.is_packed(caller, begins).map_err(of(caller))?;
                    let packed = self.callers[caller].packed();
                    if !rest.starts_with(packed) {
                        return Err(format!("caller {caller}: its commands are not sent as they are"));
                    }
                    packed.len()
                }
                Asked::Get(caller) => {
                    self.read_is_packed(caller, begins, log.read).map_err(of(caller))?;
                    length
                }
                Asked::Mget(callers) => {
                    if callers.len() > MGET_MAX || self.context.cluster {
                        return Err(format!("an MGET of {} keys", callers.len()));
                    }
                    for caller in callers {
                        self.read_is_packed(caller, begins, log.read).map_err(of(caller))?;
                    }
                    length
                }
            };
        }
        Ok(())
    }

    /// The request of a caller is to be written, and begins here.
    fn is_packed(&mut self, at: usize, begins: usize) -> Result<(), &'static str> {
        let last = self.last_command.replace(at);
        let caller = self.callers.get_mut(at).ok_or("there is none")?;
        if caller.packed_at.replace(begins).is_some() {
            return Err("its commands are sent twice");
        }
        if !caller.waits() {
            return Err("its commands are sent although it does not wait any more");
        }
        if last.is_some_and(|last| last > at) {
            return Err("its commands are sent behind those of a later one");
        }
        Ok(())
    }

    fn read_is_packed(&mut self, at: usize, begins: usize, read: usize) -> Result<(), &'static str> {
        let last = self.last_read;
        let caller = self.callers.get_mut(at).ok_or("there is none")?;
        // It may have left between the reply and the write of what was packed after that.
        let was_there = caller.asks_again.is_some_and(|end| end <= caller.read_when_over);
        if !caller.waits() && !was_there {
            return Err("its key is read although it does not wait any more");
        }
        if caller.packed_at.is_some() {
            // Only after a reply that says nothing of this key.
            let again = caller.asks_again.take().is_some_and(|end| end <= read);
            let _ = self.reached.insert("a key is read again");
            return if again { Ok(()) } else { Err("its key is read twice") };
        }
        caller.packed_at = Some(begins);
        self.last_read = Some(at);
        if last.is_some_and(|last| last > at) {
            return Err("its key is read behind that of a later one");
        }
        Ok(())
    }

    /// Notes whose reply is read, and whose deadline is over.
    fn look_at_the_callers(&mut self) {
        let (read, now, run) = (self.log.lock().read, self.clock.now(), self.polls);
        for caller in self.callers.iter_mut().filter(|caller| caller.waits()) {
            if caller.due.as_ref().is_some_and(|(_, end)| *end <= read) {
                caller.read_in.get_or_insert(run);
            }
            if caller.over_at().is_some_and(|over| over <= now) {
                caller.over_in.get_or_insert(run);
            }
        }
    }
}
