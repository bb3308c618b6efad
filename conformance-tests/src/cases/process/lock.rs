//! Locks.

use std::time::Duration;

use super::PROCESSES;
use crate::check::{ensure, same};
use crate::child::{Held, Task, race};
use crate::{Context, Outcome};

const DAY: Duration = Duration::from_hours(24);

fn token(n: usize) -> u8 {
    u8::try_from(n + 1).unwrap_or_default()
}

pub(in crate::cases) async fn one_holds_a_lock(cx: &Context) -> Outcome {
    let mut children = cx.children(PROCESSES).await?;
    let name = || "a".to_owned();
    let mut last = 0;
    // Each holds it until it is told to let go.
    for _ in 0..20 {
        let acquire = |n| Task::Acquire { name: name(), token: token(n), lease: DAY };
        let fences: Vec<Option<u64>> = race(&mut children, acquire).await?;
        let holders: Vec<_> =
            fences.iter().enumerate().filter_map(|(n, fence)| Some((n, (*fence)?))).collect();
        same(holders.len(), 1, "processes that hold the lock at the same time")?;
        for (n, fence) in holders {
            ensure(
                fence > last,
                "a greater fence than every earlier one, of whichever process",
                (last, fence),
            )?;
            last = fence;
            children[n].give(&Task::Release { name: name(), token: token(n), fence }).await?;
            let released: bool = children[n].result().await?;
            ensure(released, "the holder's release", "it was lost")?;
        }
    }
    // Each as fast as it can.
    let turns = |n| Task::TakeTurns { name: name(), token: token(n), times: 20 };
    let held: Vec<Held> = race(&mut children, turns).await?;
    let overlaps: u32 = held.iter().map(|held| held.overlaps).sum();
    same(overlaps, 0, "how often somebody else had the lock while a process held it")?;
    for held in &held {
        let grows = held.fences.is_sorted_by(|one, next| one < next);
        ensure(grows && held.fences.first() > Some(&last), "fences that only grow", (last, &held.fences))?;
    }
    let mut fences: Vec<_> = held.into_iter().flat_map(|held| held.fences).collect();
    let count = fences.len();
    fences.sort_unstable();
    fences.dedup();
    same(fences.len(), count, "different fences of all processes")
}
