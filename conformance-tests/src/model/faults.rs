//! Stores whose calls may fail: what they answer must be true whichever of their calls in doubt were done.

use std::fmt;

use stanchion::{Effect, ErrorKind};
use tokio::runtime::Runtime;

use super::compare::shortest;
use super::run::Memory;
use super::{Answer, Step, World, steps};
use crate::Offers;

/// What may have been done doubles with each call in doubt; a sequence with more of them is given up there.
const MOST_POSSIBLE: usize = 256;

/// A sequence that ends with an answer that can't be true, from which no step can be left out.
#[derive(Debug, Clone)]
pub struct Violation {
    /// The sequence, each step with what was answered.
    pub steps: Vec<Step>,
    /// What was answered to each.
    pub answers: Vec<Answer>,
    /// What could have been answered to the last one, if everything before was true.
    pub possible: Vec<Answer>,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, (step, answer)) in self.steps.iter().zip(&self.answers).enumerate() {
            writeln!(f, "{:3}. by {}: {:?}\n     {answer:?}", number + 1, step.handle, step.operation)?;
        }
        write!(f, "the last answer could be: {:?}", self.possible)
    }
}

impl std::error::Error for Violation {}

/// Runs random sequences of up to `most` steps on stores whose calls may fail, and holds every answer to what a model without
/// failures would answer:
///
/// - what was reported as not done (a transient error, [`NotApplied`](Effect::NotApplied)) was not,
/// - what is in doubt ([`Unknown`](Effect::Unknown)) was wholly done or not at all, and which of the two does not change any more,
/// - what was answered as done was done, is not lost, and what was ended does not come back.
///
/// The subject is usually a right store with a layer of [`Faults`](stanchion::layer::Faults) around it, and what is tested is
/// what lies between: the layer's own promise, or a decorator around it. Make the faults anew, of the same seed, for each world.
/// Events have no model here, and are left out.
///
/// # Errors
/// The shortest sequence that was found whose last answer can't be true; one without steps if nothing was run.
pub fn agree_despite_faults(
    runtime: &Runtime,
    mut offers: Offers,
    cases: u32,
    most: usize,
    model: impl AsyncFn() -> World,
    subject: impl AsyncFn() -> World,
) -> Result<(), Box<Violation>> {
    let nothing = |kind| {
        let answers = vec![Answer::Failed(kind, Effect::NotApplied)];
        Box::new(Violation { steps: Vec::new(), answers, possible: Vec::new() })
    };
    offers.event = false;
    let Some(steps) = steps(most, offers) else {
        return Err(nothing(ErrorKind::Unsupported));
    };
    let find = |steps: &[Step]| runtime.block_on(violation(steps, &model, &subject));
    shortest(cases, &steps, |found: &Violation| &found.steps, find)
        .map_err(|found| found.map_or_else(|| nothing(ErrorKind::Internal), Box::new))
}

/// What may have become of one step.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Became {
    Answered,
    /// Done, and nobody was answered what it did.
    Lost,
    NotDone,
}

/// One way in which everything that was answered is true.
struct Possible {
    world: World,
    memory: Memory,
    history: Vec<Became>,
}

impl Possible {
    async fn act(&mut self, step: &Step, became: Became) -> Option<Answer> {
        self.history.push(became);
        match became {
            Became::Answered => Some(self.world.act(step, &mut self.memory).await),
            Became::Lost => {
                // What it was answered is known to nobody.
                self.world.act(step, &mut Memory::default()).await;
                None
            }
            Became::NotDone => {
                self.world.pass();
                None
            }
        }
    }

    /// The same once more. A world can't be copied, but all that was done in it can be done again.
    async fn again(&self, steps: &[Step], model: &impl AsyncFn() -> World) -> Self {
        let mut again = Self { world: model().await, memory: Memory::default(), history: Vec::new() };
        for (step, became) in steps.iter().zip(&self.history) {
            again.act(step, *became).await;
        }
        again
    }
}

async fn violation(
    steps: &[Step],
    model: &impl AsyncFn() -> World,
    subject: &impl AsyncFn() -> World,
) -> Option<Violation> {
    let (subject, mut memory, mut answers) = (subject().await, Memory::default(), Vec::new());
    let first = Possible { world: model().await, memory: Memory::default(), history: Vec::new() };
    let mut all = vec![first];
    let mut found = None;
    for (at, step) in steps.iter().enumerate() {
        let answer = subject.act(step, &mut memory).await;
        answers.push(answer.clone());
        match answer {
            Answer::Failed(kind, Effect::NotApplied) if kind.is_transient() => {
                for possible in &mut all {
                    possible.act(step, Became::NotDone).await;
                }
            }
            Answer::Failed(kind, _) if kind.is_transient() => {
                if 2 * all.len() > MOST_POSSIBLE {
                    break;
                }
                for index in 0..all.len() {
                    let mut done = all[index].again(&steps[..at], model).await;
                    done.act(step, Became::Lost).await;
                    all[index].act(step, Became::NotDone).await;
                    all.push(done);
                }
            }
            observed => {
                let (mut still, mut others) = (Vec::new(), Vec::new());
                for mut possible in all {
                    match possible.act(step, Became::Answered).await {
                        Some(expected) if expected != observed => {
                            if !others.contains(&expected) {
                                others.push(expected);
                            }
                            possible.world.close().await;
                        }
                        _ => still.push(possible),
                    }
                }
                all = still;
                if all.is_empty() {
                    let steps = steps[..=at].to_vec();
                    found = Some(Violation { steps, answers, possible: others });
                    break;
                }
            }
        }
    }
    for possible in all {
        possible.world.close().await;
    }
    subject.close().await;
    found
}
