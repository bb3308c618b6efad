//! Token revocation.

use super::PROCESSES;
use crate::check::{ensure, same};
use crate::child::{Task, race};
use crate::{Context, Outcome};

pub(in crate::cases) async fn epochs_only_grow(cx: &Context) -> Outcome {
    let mut children = cx.children(PROCESSES).await?;
    let user = || "u1".to_owned();
    let mut last = 0;
    for _ in 0..20 {
        let mut epochs: Vec<u64> = race(&mut children, |_| Task::RevokeAll { user: user() }).await?;
        epochs.sort_unstable();
        let grows = epochs.is_sorted_by(|one, next| one < next);
        ensure(
            grows && epochs.first() > Some(&last),
            "each revocation of each process gives a greater epoch",
            (last, &epochs),
        )?;
        last = epochs.pop().unwrap_or_default();
        let stored: Vec<u64> = race(&mut children, |_| Task::Epoch { user: user() }).await?;
        same(stored, vec![last; PROCESSES], "the greatest epoch, for every process")?;
    }
    Ok(())
}

pub(in crate::cases) async fn revocations_are_seen_by_all(cx: &Context) -> Outcome {
    let mut children = cx.children(PROCESSES).await?;
    let of = |n: usize| (0..20).map(|of| format!("token {of} of {n}")).collect::<Vec<_>>();
    let all: Vec<_> = (0..PROCESSES).flat_map(of).collect();
    let asked = || Task::AreRevoked { jtis: all.clone() };
    // Who has found them active must not hold on to that.
    let before: Vec<Vec<bool>> = race(&mut children, |_| asked()).await?;
    same(before, vec![vec![false; all.len()]; PROCESSES], "tokens that nobody revoked, for every process")?;
    let _revoked: Vec<()> = race(&mut children, |n| Task::Revoke { jtis: of(n) }).await?;
    let after: Vec<Vec<bool>> = race(&mut children, |_| asked()).await?;
    let seen: Vec<_> = after.iter().map(|seen| seen.iter().filter(|revoked| **revoked).count()).collect();
    same(seen, vec![all.len(); PROCESSES], "revoked tokens of all processes, as each process sees them")
}
