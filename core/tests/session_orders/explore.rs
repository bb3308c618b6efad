//! Every order of the steps of some operations, one after the other.

use std::pin::Pin;

use crate::support::settle;
use crate::world::World;

/// One of the operations that run beside each other. Each of its calls of a store is a step.
pub(crate) type Operation = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What came of all orders.
#[derive(Debug)]
pub(crate) struct Explored {
    /// How many orders there were.
    pub(crate) orders: usize,
    /// Of the first order after which something was wrong: its steps, and what was.
    pub(crate) wrong: Option<(Vec<String>, String)>,
}

/// Runs the operations in every order, each in a world of its own, until something is wrong.
pub(crate) async fn explore<F>(begin: impl Fn(World) -> F) -> Explored
where
    F: Future<Output = Vec<Operation>>,
{
    let (mut choices, mut orders) = (Vec::new(), 0);
    loop {
        let world = World::new();
        let operations = begin(world.clone()).await;
        let (steps, widths) = run(&world, operations, &choices).await;
        orders += 1;
        if let Err(wrong) = world.is_right().await {
            return Explored { orders, wrong: Some((steps, wrong)) };
        }
        // The next order: the last choice that has an alternative takes it, and what follows is chosen anew.
        choices.resize(widths.len(), 0);
        while let Some(choice) = choices.pop() {
            if choice + 1 < widths[choices.len()] {
                choices.push(choice + 1);
                break;
            }
        }
        if choices.is_empty() {
            return Explored { orders, wrong: None };
        }
    }
}

/// Runs the operations in the order of these choices, and then always the first that waits. Answers the steps, and among how
/// many each was chosen.
async fn run(world: &World, operations: Vec<Operation>, choices: &[usize]) -> (Vec<String>, Vec<usize>) {
    let gate = &world.gate;
    gate.close();
    let tasks: Vec<_> = operations.into_iter().map(tokio::spawn).collect();
    let (mut steps, mut widths) = (Vec::new(), Vec::new());
    loop {
        settle().await;
        let waiting = gate.waiting();
        if waiting == 0 {
            break;
        }
        let choice = choices.get(steps.len()).copied().unwrap_or_default();
        widths.push(waiting);
        steps.push(gate.let_through(choice));
    }
    gate.open();
    for task in tasks {
        task.await.unwrap();
    }
    (steps, widths)
}
