//! Epochs and revocations.

use stanchion::time::Ttl;
use stanchion::token::{Epoch, Mark, Reason, Scope, TokenFacts, TokenStore, Verdict};

use super::{HOUR, ROUND};
use crate::cases::single_use;
use crate::check::{ensure, name, same};
use crate::{Context, Outcome, WallStep};

fn user() -> Scope {
    Scope::User("u1".to_owned())
}

async fn check(store: &dyn TokenStore, jti: &str, epoch: u64) -> Outcome<Verdict> {
    let marks = vec![(user(), Mark::Epoch(Epoch::new(epoch)))];
    Ok(store.check(&name("auth")?, &TokenFacts::new(jti, marks)).await?)
}

pub(in crate::cases) async fn epochs_only_grow(cx: &Context) -> Outcome {
    let (store, service) = (cx.open().await?.token_store()?, name("auth")?);
    store.revoke(&service, "revoked", Ttl::MAX).await?;
    let mut last = store.revoke_all(&service, &user(), Ttl::MAX).await?.get();
    for step in ROUND {
        last = cx.step(step).await?.now(last);
        let stored = store.epochs(&service, &[user()]).await?;
        same(stored, vec![Epoch::new(last)], &format!("the epoch, {step:?}"))?;
        let fresh = check(&*store, "fresh", last).await?;
        same(fresh, Verdict::Active, &format!("a token of that epoch, {step:?}"))?;
        let revoked = check(&*store, "revoked", last).await?;
        same(revoked, Verdict::Revoked(Reason::Token), &format!("a token that was revoked, {step:?}"))?;
        for _ in 0..2 {
            let next = store.revoke_all(&service, &user(), Ttl::MAX).await?.get();
            ensure(next > last, &format!("a greater epoch after {step:?}"), (last, next))?;
            let before = check(&*store, "fresh", last).await?;
            let by_scope = Verdict::Revoked(Reason::Scope(user()));
            same(before, by_scope, &format!("a token from before the revocation, {step:?}"))?;
            last = next;
        }
    }
    Ok(())
}

async fn is_over(cx: &Context, step: WallStep, life: Ttl, longer: Ttl) -> Outcome {
    let (store, service) = (cx.open().await?.token_store()?, name("auth")?);
    store.revoke(&service, "j1", life).await?;
    let _epoch = store.revoke_all(&service, &user(), life).await?;
    let _frame = cx.step(step).await?;
    cx.pass(longer).await;
    let verdict = check(&*store, "j1", 0).await?;
    same(verdict, Verdict::Active, &format!("a token whose revocations have lasted long enough, {step:?}"))
}

pub(in crate::cases) async fn lives_after_a_step_back(cx: &Context) -> Outcome {
    let life = cx.short();
    is_over(cx, WallStep::Back(life.as_duration()), life, Ttl::new(2 * life.as_duration())?).await
}

pub(in crate::cases) async fn lives_after_a_step_forth(cx: &Context) -> Outcome {
    is_over(cx, WallStep::Forth(HOUR), cx.short(), cx.short()).await
}

pub(in crate::cases) async fn a_grace_is_not_lengthened_by_the_wall_clock(cx: &Context) -> Outcome {
    let Some(store) = single_use::families(cx).await? else { return Ok(()) };
    let (families, grace) = (store.families()?, cx.short());
    let twice = Ttl::new(2 * grace.as_duration())?;
    let thrice = Ttl::new(3 * grace.as_duration())?;
    let steps = [(1, WallStep::Back(grace.as_duration()), thrice), (2, WallStep::Forth(HOUR), twice)];
    for (family, step, longer) in steps {
        single_use::open(families, &single_use::service()?, family).await?;
        single_use::rotates(families, &single_use::rotation(family, 1, 2), "rotated", "the first token")
            .await?;
        let _frame = cx.step(step).await?;
        cx.pass(longer).await;
        let mut late = single_use::rotation(family, 1, 3);
        late.grace = grace.as_duration();
        single_use::rotates(
            families,
            &late,
            "reused",
            &format!("the token before, after the grace, {step:?}"),
        )
        .await?;
    }
    Ok(())
}
