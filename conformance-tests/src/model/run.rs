//! Doing a sequence.

use std::fmt;
use std::time::Duration;

use stanchion::stores::Stores;
use stanchion::{Effect, ErrorKind, Result};

use super::{Answer, Operation, Step, event, lock, session, token};
use super::{cache, limit};

/// A fresh place to run one sequence in.
pub struct World {
    handles: Vec<Stores>,
    tick: Box<dyn Fn() + Send + Sync>,
}

impl World {
    /// A place with these handles on it, at least one, where time passes by itself.
    pub fn new(handles: Vec<Stores>) -> Self {
        Self { handles, tick: Box::new(|| ()) }
    }

    /// Where time stands still unless `tick` moves it: it is called after every step, and moves it by a
    /// millisecond, say. The order of two steps must show in their times.
    #[must_use]
    pub fn ticking(mut self, tick: impl Fn() + Send + Sync + 'static) -> Self {
        self.tick = Box::new(tick);
        self
    }

    /// Does one step, and lets a moment pass.
    pub(super) async fn act(&self, step: &Step, memory: &mut Memory) -> Answer {
        let answer = match self.handles.get(step.handle % self.handles.len().max(1)) {
            Some(stores) => one(step, stores, memory).await.unwrap_or_else(Answer::from),
            None => Answer::Failed(ErrorKind::Config, Effect::NotApplied),
        };
        self.pass();
        answer
    }

    /// Lets a moment pass.
    pub(super) fn pass(&self) {
        (self.tick)();
    }

    /// Ends it.
    pub(super) async fn close(self) {
        for stores in self.handles {
            // Nothing is expected of it any more.
            let _ = stores.close(Duration::from_secs(5)).await;
        }
    }
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "World({} handles)", self.handles.len())
    }
}

/// What a run remembers, to name what it was answered.
#[derive(Debug, Default)]
pub(super) struct Memory {
    pub(super) tokens: token::Memory,
    pub(super) locks: lock::Memory,
    pub(super) events: event::Memory,
}

/// Does a sequence, and answers what came of each step.
pub async fn run(steps: &[Step], world: &World) -> Vec<Answer> {
    let mut memory = Memory::default();
    let mut answers = Vec::with_capacity(steps.len());
    for step in steps {
        answers.push(world.act(step, &mut memory).await);
    }
    answers
}

async fn one(step: &Step, stores: &Stores, memory: &mut Memory) -> Result<Answer> {
    match &step.operation {
        Operation::Cache(operation) => cache::run(operation, &*stores.cache_store()?).await,
        Operation::Session(operation) => session::run(operation, &*stores.session_store()?).await,
        Operation::Token(operation) => {
            token::run(operation, &*stores.token_store()?, &mut memory.tokens).await
        }
        Operation::Limit(operation) => limit::run(operation, &*stores.rate_limiter()?).await,
        Operation::Lock(operation) => lock::run(operation, &*stores.locker()?, &mut memory.locks).await,
        Operation::Event(operation) => event::run(operation, step.handle, stores, &mut memory.events).await,
    }
}
