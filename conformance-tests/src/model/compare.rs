//! Looking for a sequence that two worlds answer differently.

use std::cell::Cell;
use std::fmt;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use stanchion::{Effect, ErrorKind};
use tokio::runtime::Runtime;

use super::{Answer, Operation, Step, World, run, steps};
use crate::Offers;

/// A sequence that was answered differently, from which no step can be left out.
#[derive(Debug, Clone)]
pub struct Difference {
    /// The sequence.
    pub steps: Vec<Step>,
    /// What the model answered to its last step.
    pub expected: Answer,
    /// What was answered instead.
    pub observed: Answer,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, step) in self.steps.iter().enumerate() {
            writeln!(f, "{:3}. by {}: {:?}", number + 1, step.handle, step.operation)?;
        }
        write!(f, "expected: {:?}\nobserved: {:?}", self.expected, self.observed)
    }
}

impl std::error::Error for Difference {}

/// How many sequences to try: what `PROPTEST_CASES` says, or else `usual`.
pub fn cases(usual: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

/// Runs random sequences of up to `most` steps in the areas that are offered, each in a fresh world of either kind, until
/// one is answered differently.
///
/// # Errors
/// The shortest such sequence that was found; one without steps if no area is offered, since nothing was compared then.
/// (Boxed: it is large, and rare.)
pub fn agree(
    runtime: &Runtime,
    offers: Offers,
    cases: u32,
    most: usize,
    model: impl AsyncFn() -> World,
    subject: impl AsyncFn() -> World,
) -> Result<(), Box<Difference>> {
    // The runner has nothing to choose from, or gave up for another reason than a difference, which only a panic is.
    let nothing = |kind| {
        let observed = Answer::Failed(kind, Effect::NotApplied);
        Box::new(Difference { steps: Vec::new(), expected: Answer::Done, observed })
    };
    let Some(steps) = steps(most, offers) else {
        return Err(nothing(ErrorKind::Unsupported));
    };
    let difference = |steps: &[Step]| {
        runtime.block_on(async {
            let (expected, observed) = (in_world(&model, steps).await, in_world(&subject, steps).await);
            let at = expected.iter().zip(&observed).position(|(expected, observed)| expected != observed)?;
            Some(Difference {
                steps: steps[..=at].to_vec(),
                expected: expected[at].clone(),
                observed: observed[at].clone(),
            })
        })
    };
    shortest(cases, &steps, |found: &Difference| &found.steps, difference)
        .map_err(|found| found.map_or_else(|| nothing(ErrorKind::Internal), Box::new))
}

/// Looks for a sequence in which something is found, and answers the shortest. None if the runner gave up for another reason.
pub(super) fn shortest<D>(
    cases: u32,
    steps: &impl Strategy<Value = Vec<Step>>,
    steps_of: impl Fn(&D) -> &Vec<Step>,
    find: impl Fn(&[Step]) -> Option<D>,
) -> Result<(), Option<D>> {
    // A sequence is shown with its failure; files of seeds would age with every change of an operation.
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4_096, ..Config::default() };
    // Each failing sequence is shorter than the one before.
    let shortest = Cell::new(None);
    let outcome = TestRunner::new(config).run(steps, |steps| match find(&steps) {
        None => Ok(()),
        Some(found) => {
            shortest.set(Some(found));
            Err(TestCaseError::fail("something was found"))
        }
    });
    match (outcome, shortest.take()) {
        (Ok(()), _) => Ok(()),
        (Err(_), found) => Err(found.map(|found| without_needless(found, steps_of, find))),
    }
}

/// Leaves out steps until none can be. The runner tries each of them once, before it makes the others simpler; with those a
/// step may be needless that was not.
fn without_needless<D>(
    mut found: D,
    steps_of: impl Fn(&D) -> &Vec<Step>,
    find: impl Fn(&[Step]) -> Option<D>,
) -> D {
    loop {
        let shorter = (0..steps_of(&found).len()).find_map(|left_out| {
            let mut steps = steps_of(&found).clone();
            let rotation = match steps.remove(left_out).operation {
                Operation::Session(operation) => operation.rotation(),
                _ => None,
            };
            find(&steps).or_else(|| {
                // What follows calls the session by a name that it has no more.
                let (to, from) = rotation?;
                for step in &mut steps[left_out..] {
                    if let Operation::Session(operation) = &mut step.operation {
                        operation.rename(to, from);
                    }
                }
                find(&steps)
            })
        });
        match shorter {
            Some(shorter) => found = shorter,
            None => return found,
        }
    }
}

async fn in_world(make: &impl AsyncFn() -> World, steps: &[Step]) -> Vec<Answer> {
    let world = make().await;
    let answers = run(steps, &world).await;
    world.close().await;
    answers
}
