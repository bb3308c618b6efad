//! A driver on a wire, its callers and its server, run by hand in one thread.

use std::collections::{BTreeSet, VecDeque};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::LocalBoxFuture;
use redis::PushInfo;
use stanchion::clock::{Clock, ManualClock};
use stanchion::environment::Environment;
use stanchion::time::Monotonic;

use super::super::{ConnectionEvents, Shared};
use super::caller::{Answer, Caller, CallerWaker, DriverWaker, State, Wish, Woken};
use super::ends::{Causes, Ended};
use super::server::Server;
use super::step::{Patience, Then};
use super::tap::{Log, Tap};
use super::wire::Wire;
use super::{DEADLINE, Setting};
use crate::config::RedisConfig;
use crate::connect::connection::Connection;
use crate::connect::connection::driver::Driver;
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
    /// So much was read before that.
    pub(super) read_before: usize,
    /// So much of what is packed is looked at.
    pub(super) looked_at: usize,
    /// The last callers of which something is packed.
    pub(super) last_command: Option<usize>,
    pub(super) last_read: Option<usize>,
    pub(super) causes: Causes,
    pub(super) ended: Option<Ended>,
    /// When time last passed without everything having run in between.
    pub(super) jumped: Monotonic,
    /// What has come about.
    pub(super) reached: Reached,
}

/// Names of what comes about in sequences.
pub(super) type Reached = BTreeSet<&'static str>;

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
            read_before: 0,
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
        {
            let log = self.log.lock();
            (self.taken_before, self.read_before) = (log.taken, log.read);
        }
        let polled = driver.run_once(&mut Context::from_waker(&waker));
        self.look_at_what_is_packed()?;
        self.look_at_the_callers();
        if let Poll::Ready(end) = polled {
            self.driver_ends(&end)?;
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
