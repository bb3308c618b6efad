//! Token revocation.

use super::{agreed, process, revocation_feed, rules, single_use, wall_clock};
use crate::check::{ensure, name, refused, same};
use crate::{Context, Outcome};
use futures_util::future::try_join_all;

use stanchion::ErrorKind;
use stanchion::key::{MAX_IDENTIFIER, Name};
use stanchion::time::{Timestamp, Ttl};
use stanchion::token::{Epoch, Mark, Reason, Scope, TokenFacts, Verdict};

fn service() -> Outcome<Name> {
    name("auth")
}
fn user(id: &str) -> Scope {
    Scope::User(id.to_owned())
}
fn facts(jti: &str, marks: &[(Scope, Epoch)]) -> TokenFacts {
    TokenFacts::new(jti, marks.iter().map(|(scope, epoch)| (scope.clone(), Mark::Epoch(*epoch))).collect())
}
const LONG: Ttl = Ttl::MAX;

async fn a_revoked_token_is_refused_by_every_handle(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.token_store()?, cx.open().await?.token_store()?);
    same(there.check(&service()?, &facts("j1", &[])).await?, Verdict::Active, "a token nobody revoked")?;
    here.revoke(&service()?, "j1", LONG).await?;
    same(
        there.check(&service()?, &facts("j1", &[])).await?,
        Verdict::Revoked(Reason::Token),
        "a revoked token",
    )?;
    same(there.check(&service()?, &facts("j2", &[])).await?, Verdict::Active, "another token")
}

async fn a_revocation_ends_with_its_ttl(cx: &Context) -> Outcome {
    let store = cx.open().await?.token_store()?;
    store.revoke(&service()?, "j1", cx.short()).await?;
    let _epoch = store.revoke_all(&service()?, &user("u1"), cx.short()).await?;
    cx.pass(cx.short()).await;
    let token = facts("j1", &[]);
    same(store.check(&service()?, &token).await?, Verdict::Active, "a token after its revocation's TTL")?;
    let epochs = store.epochs(&service()?, &[user("u1")]).await?;
    same(epochs, vec![Epoch::NEVER], "the epoch after its revocation's TTL")
}

async fn a_later_revocation_never_shortens_an_earlier(cx: &Context) -> Outcome {
    let store = cx.open().await?.token_store()?;
    store.revoke(&service()?, "j1", LONG).await?;
    store.revoke(&service()?, "j1", cx.short()).await?;
    let epoch = store.revoke_all(&service()?, &user("u1"), LONG).await?;
    let later = store.revoke_all(&service()?, &user("u1"), cx.short()).await?;
    cx.pass(cx.short()).await;
    same(
        store.check(&service()?, &facts("j1", &[])).await?,
        Verdict::Revoked(Reason::Token),
        "a token revoked for long, then for short",
    )?;
    ensure(later > epoch, "the second epoch is greater", (epoch, later))?;
    same(
        store.epochs(&service()?, &[user("u1")]).await?,
        vec![later],
        "the epoch revoked for long, then for short",
    )
}

async fn epochs_only_grow(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.token_store()?, cx.open().await?.token_store()?);
    let mut last = Epoch::NEVER;
    for store in [&here, &there, &here] {
        let epoch = store.revoke_all(&service()?, &user("u1"), LONG).await?;
        ensure(epoch > last, "each revocation makes the epoch greater", (last, epoch))?;
        last = epoch;
    }
    same(there.epochs(&service()?, &[user("u1")]).await?, vec![last], "the stored epoch")
}

async fn concurrent_revocations_each_make_their_own_epoch(cx: &Context) -> Outcome {
    let store = cx.open().await?.token_store()?;
    let (service, scope) = (service()?, user("u1"));
    let racing = (0..20).map(|_| store.revoke_all(&service, &scope, LONG));
    let mut epochs = try_join_all(racing).await?;
    epochs.sort_unstable();
    let count = epochs.len();
    epochs.dedup();
    same(epochs.len(), count, "distinct epochs of 20 concurrent revocations")?;
    same(store.epochs(&service, &[scope]).await?.pop(), epochs.pop(), "the stored epoch is the greatest")
}

async fn a_token_from_before_is_refused_and_one_from_after_is_not(cx: &Context) -> Outcome {
    let store = cx.open().await?.token_store()?;
    let before = facts("j1", &[(user("u1"), Epoch::NEVER)]);
    same(store.check(&service()?, &before).await?, Verdict::Active, "a token before any revocation")?;
    let epoch = store.revoke_all(&service()?, &user("u1"), LONG).await?;
    same(
        store.check(&service()?, &before).await?,
        Verdict::Revoked(Reason::Scope(user("u1"))),
        "a token from before",
    )?;
    same(
        store.check(&service()?, &facts("j2", &[(user("u1"), epoch)])).await?,
        Verdict::Active,
        "a token from after",
    )
}

async fn each_scope_counts_by_itself(cx: &Context) -> Outcome {
    let store = cx.open().await?.token_store()?;
    let first = store.revoke_all(&service()?, &Scope::Service, LONG).await?;
    let second = store.revoke_all(&service()?, &user("u1"), LONG).await?;
    // Fresh for the scope that was revoked later, stale for the other.
    let stale = facts("j", &[(user("u1"), second), (Scope::Service, Epoch::NEVER)]);
    same(
        store.check(&service()?, &stale).await?,
        Verdict::Revoked(Reason::Scope(Scope::Service)),
        "a token stale in one scope",
    )?;
    let fresh = facts("j", &[(user("u1"), second), (Scope::Service, first)]);
    same(store.check(&service()?, &fresh).await?, Verdict::Active, "a token fresh in both")
}

async fn scopes_stay_apart(cx: &Context) -> Outcome {
    let store = cx.open().await?.token_store()?;
    let revoked = store.revoke_all(&service()?, &user("x"), LONG).await?;
    let others = [
        user("y"),
        Scope::Session("x".into()),
        Scope::Client("x".into()),
        Scope::Service,
        user("x:y"),
        user("x "),
        user("X"),
        user("{x}"),
    ];
    same(
        store.epochs(&service()?, &others).await?,
        vec![Epoch::NEVER; others.len()],
        "epochs of other scopes",
    )?;
    let asked = [user("y"), user("x"), Scope::Service];
    same(
        store.epochs(&service()?, &asked).await?,
        vec![Epoch::NEVER, revoked, Epoch::NEVER],
        "epochs in the order asked",
    )
}

async fn services_stay_apart(cx: &Context) -> Outcome {
    let store = cx.open().await?.token_store()?;
    store.revoke(&service()?, "j1", LONG).await?;
    store.revoke_all(&service()?, &user("u1"), LONG).await?;
    let facts = facts("j1", &[(user("u1"), Epoch::NEVER)]);
    same(store.check(&name("other")?, &facts).await?, Verdict::Active, "the same token at another service")
}

async fn places_stay_apart(cx: &Context) -> Outcome {
    let (here, elsewhere) = (cx.open().await?.token_store()?, cx.elsewhere().await?.token_store()?);
    here.revoke(&service()?, "j1", LONG).await?;
    let _epoch = here.revoke_all(&service()?, &user("u1"), LONG).await?;
    let facts = facts("j1", &[(user("u1"), Epoch::NEVER)]);
    same(elsewhere.check(&service()?, &facts).await?, Verdict::Active, "a token revoked elsewhere")
}

async fn an_epoch_is_a_time(cx: &Context) -> Outcome {
    // In 2024: no store's clock is behind the day on which this was written.
    const EARLIEST: u64 = 1_720_000_000_000_000;
    let store = cx.open().await?.token_store()?;
    let epoch = store.revoke_all(&service()?, &user("u1"), LONG).await?;
    ensure(epoch.get() > EARLIEST, "an epoch is not less than the time in microseconds", epoch)
}

async fn a_token_that_only_says_when_it_was_issued(cx: &Context) -> Outcome {
    let store = cx.open().await?.token_store()?;
    let issued_at = |user: Scope, time: Timestamp| TokenFacts::new("j1", vec![(user, Mark::IssuedAt(time))]);
    let epoch = store.revoke_all(&service()?, &user("u1"), LONG).await?;
    let revoked = Timestamp::from_micros(epoch.get());
    for (after, what) in
        [(0, "the second of the revocation"), (1, "the second after"), (30, "the skew after")]
    {
        let within = issued_at(user("u1"), Timestamp::from_secs(revoked.as_secs() + after));
        same(
            store.check(&service()?, &within).await?,
            Verdict::Revoked(Reason::Scope(user("u1"))),
            &format!("a token issued in {what}"),
        )?;
    }
    let after = issued_at(user("u1"), Timestamp::from_secs(revoked.as_secs() + 31));
    same(
        store.check(&service()?, &after).await?,
        Verdict::Active,
        "a token issued later than the skew after",
    )?;
    let other = issued_at(user("u2"), Timestamp::from_secs(0));
    same(store.check(&service()?, &other).await?, Verdict::Active, "a token of a scope that nobody revoked")
}

async fn no_scope_is_no_error(cx: &Context) -> Outcome {
    let store = cx.open().await?.token_store()?;
    same(store.epochs(&service()?, &[]).await?, Vec::new(), "the epochs of no scope")
}

async fn bad_arguments_are_refused(cx: &Context) -> Outcome {
    let store = cx.open().await?.token_store()?;
    let long = "x".repeat(MAX_IDENTIFIER + 1);
    for jti in ["", long.as_str()] {
        refused(store.revoke(&service()?, jti, LONG).await, ErrorKind::InvalidInput, "revoking a bad jti")?;
        refused(
            store.check(&service()?, &facts(jti, &[])).await,
            ErrorKind::InvalidInput,
            "checking a bad jti",
        )?;
        refused(
            store.revoke_all(&service()?, &user(jti), LONG).await,
            ErrorKind::InvalidInput,
            "revoking a bad scope",
        )?;
        refused(
            store.epochs(&service()?, &[user(jti)]).await,
            ErrorKind::InvalidInput,
            "the epoch of a bad scope",
        )?;
    }
    let marks: Vec<_> = (0..9).map(|n| (user(&format!("u{n}")), Epoch::NEVER)).collect();
    refused(
        store.check(&service()?, &facts("j", &marks)).await,
        ErrorKind::InvalidInput,
        "checking nine marks",
    )?;
    same(store.check(&service()?, &facts("j", &marks[..8])).await?, Verdict::Active, "checking eight marks")
}

rules! {
    "TOKEN-01" Must "A revoked token is refused through every handle, from the moment the revocation is answered." => [
        "revoke::is_seen_by_every_handle": a_revoked_token_is_refused_by_every_handle,
    ];
    "TOKEN-02" Must "A revocation, of a token or a scope, ends with its TTL." => ["revoke::ends_with_its_ttl": a_revocation_ends_with_its_ttl];
    "TOKEN-03" Must "A later revocation never shortens the life of an earlier one." => [
        "revoke::never_shortens": a_later_revocation_never_shortens_an_earlier,
    ];
    "TOKEN-04" Must "Each revocation of a scope makes its epoch strictly greater, whatever runs beside it." => [
        "epoch::only_grows": epochs_only_grow,
        "epoch::race_makes_distinct_epochs": concurrent_revocations_each_make_their_own_epoch,
    ];
    "TOKEN-05" Must "A token with a smaller epoch than its scope's is refused, one with the same is not." => [
        "check::before_and_after_a_revocation": a_token_from_before_is_refused_and_one_from_after_is_not,
    ];
    "TOKEN-06" Must "Each scope of a token counts by itself: a later epoch in one never makes up for another." => [
        "check::each_scope_counts": each_scope_counts_by_itself,
    ];
    "TOKEN-07" Must "Scopes stay apart, whatever their identifiers hold; epochs are answered in the order asked." => [
        "epoch::scopes_stay_apart": scopes_stay_apart,
    ];
    "TOKEN-08" Must "Services stay apart." => [
        "isolation::services": services_stay_apart,
        "isolation::services_of_single_uses": single_use::services_keep_single_uses_apart,
    ];
    "TOKEN-09" Must "An empty or overlong identifier and more than eight marks are refused." => [
        "input::bad_arguments_are_refused": bad_arguments_are_refused,
    ];
    "TOKEN-10" Must "Places stay apart." => [
        "isolation::places": places_stay_apart,
        "isolation::places_of_single_uses": single_use::places_keep_single_uses_apart,
    ];
    "TOKEN-11" Must "An epoch is not less than the store's time in microseconds, so that one that was lost never comes again." => [
        "epoch::is_a_time": an_epoch_is_a_time,
    ];
    "TOKEN-12" Must "A token that only says when it was issued is refused if that is up to the skew after the revocation, to the second, and not if it is later." => [
        "check::skew_of_the_token": agreed::a_skew_is_that_of_the_token,
        "check::issued_at_fails_closed": a_token_that_only_says_when_it_was_issued,
    ];
    "TOKEN-13" Must "The epochs of no scope are none." => ["epoch::of_no_scope": no_scope_is_no_error];
    "TOKEN-14" Must "An epoch never goes back, and each revocation of a scope by several processes gives a greater one." => [
        "process::epochs_only_grow": process::token::epochs_only_grow,
    ];
    "TOKEN-15" Must "A revocation of one process is seen by all, from the moment it is answered." => [
        "process::seen_by_all": process::token::revocations_are_seen_by_all,
    ];
    "TOKEN-16" Must "Epochs only grow, and what was revoked stays revoked, also when the store's wall clock is set back or forth." => [
        "wall_clock::epochs_only_grow": wall_clock::token::epochs_only_grow,
    ];
    "TOKEN-17" Must "A step of the store's wall clock prolongs no revocation by more than the step." => [
        "wall_clock::lives_after_a_step_back": wall_clock::token::lives_after_a_step_back,
        "wall_clock::lives_after_a_step_forth": wall_clock::token::lives_after_a_step_forth,
    ];
    "TOKEN-18" Must "The first settings of a service's tokens are recorded for good; who differs is answered those." => [
        "settings::first_is_recorded": agreed::the_first_settings_are_recorded,
        "settings::do_not_expire": agreed::settings_do_not_expire,
        "settings::race_records_one": agreed::one_of_several_at_once_is_recorded,
    ];
    "TOKEN-19" Must "A recorded longest life is replaced only by who names it; an issuer is recorded where there is none." => [
        "settings::change_on_purpose": agreed::a_longest_life_is_changed_on_purpose,
        "settings::issuer_comes_later": agreed::an_issuer_is_recorded_later,
    ];
    "TOKEN-20" Must "A floor is the service's epoch: set once, to the time; what is checked for it is refused where it is missing." => [
        "floor::is_set_once": agreed::a_floor_is_set_once,
    ];
    "TOKEN-21" Must "A floor never expires, whatever is revoked." => ["floor::does_not_expire": agreed::a_floor_does_not_expire];
    "TOKEN-22" Must "The recorded longest life of refresh tokens only grows, whoever has which." => [
        "settings::family_life_grows": agreed::a_life_of_refresh_tokens_only_grows,
    ];
    "TOKEN-23" Must "A watcher is notified of every revocation in its service, and of a new floor, through any handle." => [
        "feed::revocations": revocation_feed::each_revocation_is_notified,
        "feed::floor": revocation_feed::a_new_floor_is_notified,
    ];
    "TOKEN-24" Must "A watcher is notified of nothing of another service, and of nothing once its watch is dropped." => [
        "feed::is_of_one_service": revocation_feed::a_watch_is_of_one_service,
    ];
    "TOKEN-30" Must "Of any number of claims of one name exactly one is the first, whoever makes them." => [
        "claim::one_is_the_first": single_use::one_claim_is_the_first,
    ];
    "TOKEN-31" Must "A claim ends with its TTL, and later claims change nothing." => [
        "claim::ends_with_its_ttl": single_use::a_claim_ends_with_its_ttl,
    ];
    "TOKEN-32" Must "A name that is claimed is no revoked token." => [
        "claim::is_no_revocation": single_use::claims_are_no_revocations,
    ];
    "TOKEN-33" Must "An empty or overlong name is refused." => ["claim::bad_names_are_refused": single_use::bad_names_are_refused];
    "TOKEN-34" Must "Of claims of one name by several processes exactly one is the first." => [
        "process::one_is_the_first": process::token::one_process_is_the_first,
    ];
    "TOKEN-40" Must "Of any number of rotations of one refresh token exactly one wins; the others find its salt." => [
        "family::one_rotation_wins": single_use::one_rotation_wins,
    ];
    "TOKEN-41" Must "The same attempt of a rotation is answered again as it was." => [
        "family::an_attempt_again": single_use::an_attempt_is_answered_as_before,
    ];
    "TOKEN-42" Must "An old token, or one that never was, ends its family." => [
        "family::reuse_ends_it": single_use::an_old_token_ends_the_family,
    ];
    "TOKEN-43" Must "A token that was rotated is answered for the grace, and not after; without a grace not at all." => [
        "family::grace_ends": single_use::a_grace_ends,
    ];
    "TOKEN-44" Must "What finds no family writes nothing, and what has ended stays ended." => [
        "family::nothing_brings_it_back": single_use::nothing_brings_a_family_back,
    ];
    "TOKEN-45" Must "A family ends when it is not used for its idle time." => ["family::ends_unused": single_use::a_family_ends_unused];
    "TOKEN-46" Must "A family ends once its absolute time is over, however often it was used." => [
        "family::ends_with_age": single_use::a_family_ends_with_age,
    ];
    "TOKEN-47" Must "A family of a name that there is is not opened, and changes nothing." => [
        "family::is_opened_once": single_use::a_family_is_opened_once,
    ];
    "TOKEN-48" Must "A family keeps 4 KiB, byte for byte, and more is refused." => [
        "family::too_much_data": single_use::too_much_data_is_refused,
    ];
    "TOKEN-49" Must "Of rotations of one refresh token by several processes exactly one wins." => [
        "process::one_rotates": process::token::one_process_rotates,
    ];
    "TOKEN-50" Must "A step of the store's wall clock prolongs the grace by no more than the step." => [
        "wall_clock::grace": wall_clock::token::a_grace_is_not_lengthened_by_the_wall_clock,
    ];
}
