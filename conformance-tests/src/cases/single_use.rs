//! Names that are used once, and families of refresh tokens. Where a store has not these parts, its façade says so when it is
//! built or called.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use stanchion::ErrorKind;
use stanchion::key::{MAX_IDENTIFIER, Name};
use stanchion::time::{Timestamp, Ttl};
use stanchion::token::{
    FamilyId, FirstUses, MAX_FAMILY_DATA, NewFamily, RefreshFamilies, RefreshHash, RotateOutcome, Rotation,
    Salt, TokenFacts, TokenStore, Verdict,
};

use crate::check::{ensure, fail, name, refused, same};
use crate::{Context, Outcome};

const LONG: Ttl = Ttl::MAX;
const GRACE: Duration = Duration::from_hours(1);

pub(super) fn service() -> Outcome<Name> {
    name("auth")
}

/// A store with an optional part.
pub(super) struct With(Arc<dyn TokenStore>);

impl With {
    pub(super) fn uses(&self) -> Outcome<&dyn FirstUses> {
        self.0.first_uses().map_or_else(|| fail("first uses, for every handle", "none"), Ok)
    }

    pub(super) fn families(&self) -> Outcome<&dyn RefreshFamilies> {
        self.0.families().map_or_else(|| fail("families, for every handle", "none"), Ok)
    }
}

/// The store, if it has first uses; else its façade must refuse a claim.
pub(super) async fn uses(cx: &Context) -> Outcome<Option<With>> {
    let stores = cx.open().await?;
    let store = stores.token_store()?;
    if store.first_uses().is_some() {
        return Ok(Some(With(store)));
    }
    let later = Timestamp::from_secs(4_000_000_000);
    refused(
        stores.tokens().build()?.claim("j1", later).await,
        ErrorKind::Unsupported,
        "a claim without first uses",
    )?;
    Ok(None)
}

/// The store, if it has families; else the layers around it must not have them either.
pub(super) async fn families(cx: &Context) -> Outcome<Option<With>> {
    let store = cx.open().await?.token_store()?;
    if store.families().is_some() { Ok(Some(With(store))) } else { Ok(None) }
}

pub(super) async fn one_claim_is_the_first(cx: &Context) -> Outcome {
    let Some(here) = uses(cx).await? else { return Ok(()) };
    let there = With(cx.open().await?.token_store()?);
    let (service, both) = (service()?, [here.uses()?, there.uses()?]);
    for round in 0..5 {
        let name = format!("j{round}");
        let claims = (0..50).map(|n| both[n % 2].claim(&service, &name, LONG));
        let first = try_join_all(claims).await?.into_iter().filter(|first| *first).count();
        same(first, 1, "first claims of 50 through two handles")?;
    }
    same(here.uses()?.claim(&service, "other", LONG).await?, true, "a claim of another name")
}

pub(super) async fn a_claim_ends_with_its_ttl(cx: &Context) -> Outcome {
    let Some(store) = uses(cx).await? else { return Ok(()) };
    let (uses, service) = (store.uses()?, service()?);
    uses.claim(&service, "j1", cx.short()).await?;
    // Later ones change nothing.
    same(uses.claim(&service, "j1", LONG).await?, false, "a second claim")?;
    cx.pass(cx.short()).await;
    same(uses.claim(&service, "j1", LONG).await?, true, "a claim after the TTL of the first")
}

pub(super) async fn claims_are_no_revocations(cx: &Context) -> Outcome {
    let Some(store) = uses(cx).await? else { return Ok(()) };
    let (uses, service) = (store.uses()?, service()?);
    uses.claim(&service, "j1", LONG).await?;
    let verdict = store.0.check(&service, &TokenFacts::new("j1", Vec::new())).await?;
    same(verdict, Verdict::Active, "a token whose id was claimed")?;
    store.0.revoke(&service, "j2", LONG).await?;
    same(uses.claim(&service, "j2", LONG).await?, true, "a claim of the id of a revoked token")
}

pub(super) async fn services_keep_single_uses_apart(cx: &Context) -> Outcome {
    if let Some(store) = uses(cx).await? {
        store.uses()?.claim(&service()?, "j1", LONG).await?;
        same(
            store.uses()?.claim(&name("other")?, "j1", LONG).await?,
            true,
            "the same name at another service",
        )?;
    }
    if let Some(store) = families(cx).await? {
        open(store.families()?, &service()?, 1).await?;
        let outcome = store.families()?.rotate(&name("other")?, &rotation(1, 1, 2)).await?;
        same(outcome, RotateOutcome::Gone, "the same family at another service")?;
    }
    Ok(())
}

pub(super) async fn places_keep_single_uses_apart(cx: &Context) -> Outcome {
    if let Some(store) = uses(cx).await? {
        let elsewhere = With(cx.elsewhere().await?.token_store()?);
        store.uses()?.claim(&service()?, "j1", LONG).await?;
        same(
            elsewhere.uses()?.claim(&service()?, "j1", LONG).await?,
            true,
            "a name that is claimed elsewhere",
        )?;
    }
    if let Some(store) = families(cx).await? {
        let elsewhere = With(cx.elsewhere().await?.token_store()?);
        open(store.families()?, &service()?, 1).await?;
        let outcome = elsewhere.families()?.rotate(&service()?, &rotation(1, 1, 2)).await?;
        same(outcome, RotateOutcome::Gone, "a family that is elsewhere")?;
    }
    Ok(())
}

pub(super) async fn bad_names_are_refused(cx: &Context) -> Outcome {
    let Some(store) = uses(cx).await? else { return Ok(()) };
    for bad in ["", "x".repeat(MAX_IDENTIFIER + 1).as_str()] {
        refused(
            store.uses()?.claim(&service()?, bad, LONG).await,
            ErrorKind::InvalidInput,
            "claiming a bad name",
        )?;
    }
    Ok(())
}

fn id(n: u8) -> FamilyId {
    FamilyId::new([n; 32])
}

fn token(n: u8) -> RefreshHash {
    RefreshHash::new([n; 32])
}

/// The attempt that puts the token `next` in the place of `now`.
pub(super) fn rotation(family: u8, now: u8, next: u8) -> Rotation {
    Rotation::new(id(family), token(now), token(next), Salt::new([next; 32]), GRACE, LONG)
}

fn data() -> Bytes {
    Bytes::from_static(b"\0 what is kept \xFF")
}

/// A family with its first token, 1.
pub(super) async fn open(families: &dyn RefreshFamilies, service: &Name, family: u8) -> Outcome {
    let new = NewFamily::new(id(family), token(1), data(), LONG, LONG);
    same(families.open_family(service, &new).await?, true, "a family that is opened")
}

fn what(outcome: &RotateOutcome) -> &'static str {
    match outcome {
        RotateOutcome::Rotated { .. } => "rotated",
        RotateOutcome::Repeated { .. } => "repeated",
        RotateOutcome::Reused { .. } => "reused",
        RotateOutcome::Gone => "gone",
        _ => "something new",
    }
}

pub(super) async fn rotates(
    families: &dyn RefreshFamilies,
    rotation: &Rotation,
    expected: &str,
    of: &str,
) -> Outcome {
    let outcome = families.rotate(&service()?, rotation).await?;
    ensure(what(&outcome) == expected, &format!("{of}: {expected}"), &outcome)?;
    match outcome {
        RotateOutcome::Rotated { data: kept, .. }
        | RotateOutcome::Repeated { data: kept, .. }
        | RotateOutcome::Reused { data: kept } => same(kept, data(), "what is kept with the family"),
        _ => Ok(()),
    }
}

pub(super) async fn one_rotation_wins(cx: &Context) -> Outcome {
    let Some(here) = families(cx).await? else { return Ok(()) };
    let there = With(cx.open().await?.token_store()?);
    let (service, both) = (service()?, [here.families()?, there.families()?]);
    open(both[0], &service, 1).await?;
    let attempts: Vec<_> = (2..52).map(|next| rotation(1, 1, next)).collect();
    let calls = attempts.iter().enumerate().map(|(n, attempt)| both[n % 2].rotate(&service, attempt));
    let outcomes = try_join_all(calls).await?;
    let won: Vec<_> = (outcomes.iter().zip(&attempts))
        .filter_map(|(outcome, attempt)| matches!(outcome, RotateOutcome::Rotated { .. }).then_some(attempt))
        .collect();
    same(won.len(), 1, "rotations of 50 of one token that won")?;
    for outcome in &outcomes {
        match outcome {
            RotateOutcome::Rotated { .. } => {}
            RotateOutcome::Repeated { salt, .. } => {
                same(Some(salt), won.first().map(|won| &won.salt), "the salt of the winner, for all")?;
            }
            other => return fail("a rotation that won, or finds the token rotated", other),
        }
    }
    let successor = won.first().map_or(0, |won| won.salt.bytes()[0]);
    rotates(both[0], &rotation(1, successor, 99), "rotated", "the winner's successor").await
}

pub(super) async fn an_attempt_is_answered_as_before(cx: &Context) -> Outcome {
    let Some(store) = families(cx).await? else { return Ok(()) };
    let families = store.families()?;
    open(families, &service()?, 1).await?;
    let attempt = rotation(1, 1, 2);
    rotates(families, &attempt, "rotated", "an attempt").await?;
    rotates(families, &attempt, "rotated", "the same attempt again").await?;
    rotates(families, &rotation(1, 1, 3), "repeated", "another attempt").await?;
    rotates(families, &rotation(1, 2, 4), "rotated", "the successor").await?;
    let reuse = rotation(1, 1, 5);
    rotates(families, &reuse, "reused", "an attempt with an old token").await?;
    rotates(families, &reuse, "reused", "the same attempt with an old token again").await?;
    rotates(families, &rotation(1, 1, 6), "gone", "another attempt with an old token").await
}

pub(super) async fn an_old_token_ends_the_family(cx: &Context) -> Outcome {
    let Some(store) = families(cx).await? else { return Ok(()) };
    let families = store.families()?;
    for (family, presented, of) in [(1, 1, "the token before the last"), (2, 77, "a token that never was")] {
        open(families, &service()?, family).await?;
        rotates(families, &rotation(family, 1, 2), "rotated", "the first token").await?;
        rotates(families, &rotation(family, 2, 3), "rotated", "the second token").await?;
        rotates(families, &rotation(family, presented, 4), "reused", of).await?;
        rotates(families, &rotation(family, 3, 5), "gone", "the current token after a reuse").await?;
        same(families.end_family(&service()?, &id(family)).await?, None, "what ends after a reuse")?;
    }
    Ok(())
}

pub(super) async fn a_grace_ends(cx: &Context) -> Outcome {
    let Some(store) = families(cx).await? else { return Ok(()) };
    let families = store.families()?;
    open(families, &service()?, 1).await?;
    rotates(families, &rotation(1, 1, 2), "rotated", "the first token").await?;
    cx.pass(cx.short()).await;
    let mut late = rotation(1, 1, 3);
    late.grace = cx.short().as_duration();
    rotates(families, &late, "reused", "the token before, after the grace").await?;

    open(families, &service()?, 2).await?;
    rotates(families, &rotation(2, 1, 2), "rotated", "the first token").await?;
    let mut none = rotation(2, 1, 3);
    none.grace = Duration::ZERO;
    rotates(families, &none, "reused", "the token before, without a grace").await
}

pub(super) async fn nothing_brings_a_family_back(cx: &Context) -> Outcome {
    let Some(store) = families(cx).await? else { return Ok(()) };
    let families = store.families()?;
    rotates(families, &rotation(1, 1, 2), "gone", "a token of no family").await?;
    rotates(families, &rotation(1, 2, 3), "gone", "its successor").await?;
    open(families, &service()?, 1).await?;
    same(
        families.end_family(&service()?, &id(1)).await?,
        Some(data()),
        "what was kept with a family that ends",
    )?;
    same(families.end_family(&service()?, &id(1)).await?, None, "what ends a second time")?;
    rotates(families, &rotation(1, 1, 2), "gone", "the current token of a family that has ended").await?;
    rotates(families, &rotation(1, 2, 3), "gone", "its successor").await
}

pub(super) async fn a_family_ends_unused(cx: &Context) -> Outcome {
    let Some(store) = families(cx).await? else { return Ok(()) };
    let families = store.families()?;
    let new = NewFamily::new(id(1), token(1), data(), cx.short(), LONG);
    families.open_family(&service()?, &new).await?;
    cx.pass(cx.short()).await;
    rotates(families, &rotation(1, 1, 2), "gone", "a token of a family that was not used").await?;
    open(families, &service()?, 2).await?;
    let mut attempt = rotation(2, 1, 2);
    attempt.idle = cx.short();
    rotates(families, &attempt, "rotated", "the first token").await?;
    cx.pass(cx.short()).await;
    rotates(families, &rotation(2, 2, 3), "gone", "a token of a family that was not used again").await?;
    same(families.end_family(&service()?, &id(2)).await?, None, "what ends after its idle time")
}

pub(super) async fn a_family_ends_with_age(cx: &Context) -> Outcome {
    let Some(store) = families(cx).await? else { return Ok(()) };
    let families = store.families()?;
    let new = NewFamily::new(id(1), token(1), data(), LONG, cx.short());
    families.open_family(&service()?, &new).await?;
    // Too late to tell is no failure: on a slow machine it has ended by now.
    match families.rotate(&service()?, &rotation(1, 1, 2)).await? {
        RotateOutcome::Rotated { left, .. } => {
            ensure(left <= cx.short(), "no more left than it lives at most", (left, cx.short()))?;
        }
        RotateOutcome::Gone => {}
        other => return fail("a first token that rotates", other),
    }
    cx.pass(cx.short()).await;
    rotates(families, &rotation(1, 2, 3), "gone", "a token of a family that was used, and is too old").await
}

pub(super) async fn a_family_is_opened_once(cx: &Context) -> Outcome {
    let Some(store) = families(cx).await? else { return Ok(()) };
    let families = store.families()?;
    open(families, &service()?, 1).await?;
    let again = NewFamily::new(id(1), token(50), Bytes::from_static(b"other"), LONG, LONG);
    same(families.open_family(&service()?, &again).await?, false, "a family of a name that there is")?;
    rotates(families, &rotation(1, 1, 2), "rotated", "the token of the first").await
}

pub(super) async fn too_much_data_is_refused(cx: &Context) -> Outcome {
    let Some(store) = families(cx).await? else { return Ok(()) };
    let families = store.families()?;
    let family = |length| NewFamily::new(id(1), token(1), Bytes::from(vec![0; length]), LONG, LONG);
    let over = families.open_family(&service()?, &family(MAX_FAMILY_DATA + 1)).await;
    refused(over, ErrorKind::InvalidInput, "a family with too much data")?;
    same(
        families.open_family(&service()?, &family(MAX_FAMILY_DATA)).await?,
        true,
        "a family with as much as may be",
    )?;
    let kept = families.end_family(&service()?, &id(1)).await?;
    same(kept.map(|kept| kept.len()), Some(MAX_FAMILY_DATA), "what is kept with it")
}
