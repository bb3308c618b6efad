//! What all who share a service's tokens agree on, and the floor under them.

use std::time::Duration;

use futures_util::future::try_join_all;
use stanchion::ErrorKind;
use stanchion::time::{Timestamp, Ttl};
use stanchion::token::{Epoch, Mark, Reason, Scope, TokenFacts, TokenSettings, Verdict};

use crate::check::{ensure, name, refused, same};
use crate::{Context, Outcome};

fn settings(seconds: u64) -> Outcome<TokenSettings> {
    Ok(TokenSettings::new().max_life(Ttl::new(Duration::from_secs(seconds))?))
}

pub(super) async fn the_first_settings_are_recorded(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.token_store()?, cx.open().await?.token_store()?);
    let (service, ours) = (name("auth")?, settings(60)?.issuer("a:b {c} é"));
    let none = TokenSettings::new();
    same(here.agree(&service, &none, None).await?, none.clone(), "no settings")?;
    same(here.agree(&service, &ours, None).await?, ours.clone(), "the first settings")?;
    let others = settings(61)?.issuer("another");
    same(there.agree(&service, &others, None).await?, ours.clone(), "what is answered to who differs")?;
    same(there.agree(&service, &none, None).await?, ours.clone(), "what is answered to who has set nothing")?;
    same(here.agree(&service, &ours, None).await?, ours, "what is answered to the first, again")?;
    let other = settings(7)?;
    same(
        there.agree(&name("other")?, &other, None).await?,
        other.clone(),
        "the settings of another service",
    )?;
    let elsewhere = cx.elsewhere().await?.token_store()?;
    same(elsewhere.agree(&service, &other, None).await?, other, "the settings of another place")
}

pub(super) async fn settings_do_not_expire(cx: &Context) -> Outcome {
    let (store, service) = (cx.open().await?.token_store()?, name("auth")?);
    // Whatever the life of tokens is.
    let ours = TokenSettings::new().max_life(cx.short()).issuer("me");
    same(store.agree(&service, &ours, None).await?, ours.clone(), "the first settings")?;
    cx.pass(cx.short()).await;
    // Another life than the short one of any harness.
    let later = store.agree(&service, &settings(7_777)?, None).await?;
    same(later, ours, "the recorded settings, later")
}

pub(super) async fn one_of_several_at_once_is_recorded(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.token_store()?, cx.open().await?.token_store()?);
    let (service, all) = (name("auth")?, (1..=20).map(settings).collect::<Outcome<Vec<_>>>()?);
    let racing = all.iter().zip([&here, &there].into_iter().cycle());
    let answers = try_join_all(racing.map(|(ours, store)| store.agree(&service, ours, None))).await?;
    let recorded = here.agree(&service, &settings(1_000)?, None).await?;
    ensure(all.contains(&recorded), "the settings of one of them are recorded", &recorded)?;
    let differing: Vec<_> = answers.iter().filter(|answer| **answer != recorded).collect();
    same(differing, Vec::new(), "answers other than what is recorded")
}

pub(super) async fn a_longest_life_is_changed_on_purpose(cx: &Context) -> Outcome {
    let (store, service) = (cx.open().await?.token_store()?, name("auth")?);
    let (old, new) = (settings(60)?.issuer("me"), settings(120)?.issuer("you"));
    store.agree(&service, &old, None).await?;
    let unlike = settings(61)?.max_life;
    same(store.agree(&service, &new, unlike).await?, old.clone(), "changed from what is not recorded")?;
    let changed = store.agree(&service, &new, old.max_life).await?;
    same(
        changed.clone(),
        settings(120)?.issuer("me"),
        "changed from what is recorded: the life, and not the issuer",
    )?;
    same(store.agree(&service, &old, None).await?, changed.clone(), "what is recorded after the change")?;
    let unset = store.agree(&service, &TokenSettings::new(), changed.max_life).await?;
    same(unset, changed, "changed to nothing")
}

pub(super) async fn an_issuer_is_recorded_later(cx: &Context) -> Outcome {
    let (store, service) = (cx.open().await?.token_store()?, name("auth")?);
    same(store.agree(&service, &settings(60)?, None).await?.issuer, None, "no issuer")?;
    let later = store.agree(&service, &settings(60)?.issuer("me"), None).await?;
    same(later.issuer.as_deref(), Some("me"), "the first issuer")?;
    let long = "x".repeat(TokenSettings::MAX_ISSUER);
    same(
        store.agree(&name("long")?, &settings(60)?.issuer(long.clone()), None).await?.issuer,
        Some(long.clone()),
        "the longest issuer",
    )?;
    for issuer in ["", &(long + "x")] {
        refused(
            store.agree(&service, &settings(60)?.issuer(issuer), None).await,
            ErrorKind::InvalidInput,
            "an issuer that is empty or too long",
        )?;
    }
    Ok(())
}

pub(super) async fn a_life_of_refresh_tokens_only_grows(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.token_store()?, cx.open().await?.token_store()?);
    let service = name("auth")?;
    let families =
        |seconds| Outcome::Ok(TokenSettings::new().family_life(Ttl::new(Duration::from_secs(seconds))?));
    same(here.agree(&service, &TokenSettings::new(), None).await?.family_life, None, "no refresh tokens")?;
    same(
        here.agree(&service, &families(900)?, None).await?,
        families(900)?,
        "the first life of refresh tokens",
    )?;
    same(there.agree(&service, &families(1_000)?, None).await?, families(1_000)?, "a longer one")?;
    let kept = here.agree(&service, &families(7)?, families(1_000)?.family_life).await?;
    same(kept, families(1_000)?, "a shorter one")?;
    let with_life = settings(60)?.family_life(Ttl::new(Duration::from_secs(1_000))?);
    same(here.agree(&service, &settings(60)?, None).await?, with_life, "the other settings, later")
}

fn of_the_service(epoch: Epoch) -> TokenFacts {
    TokenFacts::new("j1", vec![(Scope::Service, Mark::Epoch(epoch))]).floor()
}

pub(super) async fn a_floor_is_set_once(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.token_store()?, cx.open().await?.token_store()?);
    let service = name("auth")?;
    let lost = Verdict::Revoked(Reason::Lost);
    same(
        here.check(&service, &of_the_service(Epoch::NEVER)).await?,
        lost,
        "a token where there is no floor",
    )?;
    let racing = [&here, &there].into_iter().cycle().take(10).map(|store| store.floor(&service));
    let floors = try_join_all(racing).await?;
    let floor = here.floor(&service).await?;
    // In 2024: no store's clock is behind the day on which this was written.
    ensure(floor.get() > 1_720_000_000_000_000, "a floor is not less than the time in microseconds", floor)?;
    let differing: Vec<_> = floors.into_iter().filter(|other| *other != floor).collect();
    same(differing, Vec::new(), "other floors of one service")?;
    same(there.epochs(&service, &[Scope::Service]).await?, vec![floor], "the service's epoch")?;
    same(there.check(&service, &of_the_service(floor)).await?, Verdict::Active, "a token from after")?;
    let below = Verdict::Revoked(Reason::Scope(Scope::Service));
    same(there.check(&service, &of_the_service(Epoch::NEVER)).await?, below, "a token from before")?;
    let epoch = here.revoke_all(&service, &Scope::Service, Ttl::MAX).await?;
    ensure(epoch > floor, "a revocation raises the epoch above the floor", (floor, epoch))?;
    same(there.floor(&service).await?, epoch, "the floor after a revocation")
}

pub(super) async fn a_floor_does_not_expire(cx: &Context) -> Outcome {
    let (store, service) = (cx.open().await?.token_store()?, name("auth")?);
    // One that would have expired, one that is revoked after, and one that stays as it was set.
    let early = store.revoke_all(&service, &Scope::Service, cx.short()).await?;
    same(store.floor(&service).await?, early, "the floor of a service that was revoked")?;
    let (second, third) = (name("second")?, name("third")?);
    store.floor(&second).await?;
    let late = store.revoke_all(&second, &Scope::Service, cx.short()).await?;
    let untouched = store.floor(&third).await?;
    cx.pass(cx.short()).await;
    for (service, floor, what) in [
        (&service, early, "the floor of an epoch that would have expired"),
        (&second, late, "the floor after a revocation that would have expired"),
        (&third, untouched, "a floor"),
    ] {
        same(store.epochs(service, &[Scope::Service]).await?, vec![floor], what)?;
    }
    Ok(())
}

pub(super) async fn a_skew_is_that_of_the_token(cx: &Context) -> Outcome {
    let (store, service) = (cx.open().await?.token_store()?, name("auth")?);
    let user = Scope::User("u1".to_owned());
    let epoch = store.revoke_all(&service, &user, Ttl::MAX).await?;
    let second = Timestamp::from_micros(epoch.get()).as_secs();
    for (skew, after) in [(0, 0), (30, 30), (120, 120)] {
        let issued = |after: u64| {
            let mark = Mark::IssuedAt(Timestamp::from_secs(second + after));
            TokenFacts::new("j1", vec![(user.clone(), mark)]).skew(Duration::from_secs(skew))
        };
        let revoked = Verdict::Revoked(Reason::Scope(user.clone()));
        same(
            store.check(&service, &issued(after)).await?,
            revoked,
            &format!("issued {after} s after, with a skew of {skew} s"),
        )?;
        let later = store.check(&service, &issued(after + 1)).await?;
        same(later, Verdict::Active, &format!("issued {} s after, with a skew of {skew} s", after + 1))?;
    }
    Ok(())
}
