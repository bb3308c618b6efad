//! Token revocation.

use super::PROCESSES;
use crate::cases::single_use;
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

pub(in crate::cases) async fn one_process_is_the_first(cx: &Context) -> Outcome {
    if single_use::uses(cx).await?.is_none() {
        return Ok(());
    }
    let mut children = cx.children(PROCESSES).await?;
    let names: Vec<_> = (0..100).map(|n| format!("j{n}")).collect();
    let won: Vec<Vec<bool>> = race(&mut children, |_| Task::Claim { names: names.clone() }).await?;
    let first: Vec<_> = (0..names.len()).map(|n| won.iter().filter(|won| won[n]).count()).collect();
    same(first, vec![1; names.len()], "first claims of each name, by all processes")
}

pub(in crate::cases) async fn one_process_rotates(cx: &Context) -> Outcome {
    let Some(store) = single_use::families(cx).await? else { return Ok(()) };
    for family in 1..=20 {
        single_use::open(store.families()?, &single_use::service()?, family).await?;
    }
    let mut children = cx.children(PROCESSES).await?;
    let won: Vec<Vec<bool>> = race(&mut children, |n| Task::Rotate {
        families: (1..=20).collect(),
        next: 2 + u8::try_from(n).unwrap_or_default(),
    })
    .await?;
    let rotated: Vec<_> = (0..20).map(|n| won.iter().filter(|won| won[n]).count()).collect();
    same(rotated, vec![1; 20], "rotations of each token that won, by all processes")
}
