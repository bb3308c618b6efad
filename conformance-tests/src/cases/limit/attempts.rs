//! Failed attempts and lock-outs.

use super::HOUR;
use crate::check::{ensure, fail, refused, same};
use crate::{Context, Outcome};

use futures_util::future::try_join_all;

use std::sync::Arc;
use std::time::Duration;

use stanchion::ErrorKind;
use stanchion::key::Key;
use stanchion::limit::{
    AttemptOutcome, AttemptRequest, AttemptTicket, Failures, LockedBy, Lockout, RateLimiter, Settlement,
};
use stanchion::time::Ttl;

fn key(account: &str) -> Outcome<Key> {
    Ok(Key::new("attempts", "case", account)?)
}

/// How many known sources of a key are kept.
const KNOWN: usize = Failures::MAX_KNOWN;

/// So many failures lock out for an hour.
fn failures(number: u32) -> Outcome<Lockout> {
    Ok(Lockout::new(number, HOUR, HOUR, HOUR, HOUR)?)
}

/// From a source that three failures lock out, of a key that ten do.
fn request(source: &str) -> Outcome<AttemptRequest> {
    Ok(AttemptRequest::new(failures(10)?).from_source(source, failures(3)?))
}

/// Two handles on a backend that counts attempts; one that says that it does not refuses them.
async fn offered(cx: &Context) -> Outcome<Option<[Arc<dyn RateLimiter>; 2]>> {
    let (here, there) = (cx.open().await?.rate_limiter()?, cx.open().await?.rate_limiter()?);
    if here.capabilities().attempts {
        return Ok(Some([here, there]));
    }
    refused(here.attempt(&key("a")?, &request("s")?).await, ErrorKind::Unsupported, "an attempt")?;
    refused(here.settle(&key("a")?, &Settlement::Unlocked).await, ErrorKind::Unsupported, "unlocking")?;
    Ok(None)
}

async fn attempt(limiter: &Arc<dyn RateLimiter>, account: &str, source: &str) -> Outcome<AttemptOutcome> {
    Ok(limiter.attempt(&key(account)?, &request(source)?).await?)
}

async fn admitted(limiter: &Arc<dyn RateLimiter>, account: &str, source: &str) -> Outcome<AttemptTicket> {
    match attempt(limiter, account, source).await? {
        AttemptOutcome::Admitted(ticket) => Ok(ticket),
        other => fail(format!("admitted to {account} from {source}"), other),
    }
}

async fn locked(limiter: &Arc<dyn RateLimiter>, account: &str, source: &str, by: LockedBy) -> Outcome {
    match attempt(limiter, account, source).await? {
        AttemptOutcome::Locked { by: whose, .. } => same(whose, by, "whose failures lock out"),
        other => fail(format!("locked out of {account} from {source}"), other),
    }
}

fn succeeded(source: &str, ticket: AttemptTicket) -> Outcome<Settlement> {
    Ok(Settlement::Succeeded { source: source.into(), ticket, known_for: Ttl::new(HOUR)? })
}

pub(super) async fn a_race_is_no_more_than_a_row(cx: &Context) -> Outcome {
    let Some(limiters) = offered(cx).await? else { return Ok(()) };
    let (key, request) = (key("a")?, request("s")?);
    let racing = (0..50).map(|n| limiters[n % 2].attempt(&key, &request));
    let outcomes = try_join_all(racing).await?;
    let admitted = outcomes.iter().filter(|outcome| matches!(outcome, AttemptOutcome::Admitted(_))).count();
    same(admitted, 3, "admitted of 50 at once")?;
    match limiters[0].attempt(&key, &request).await? {
        AttemptOutcome::Locked { retry_after, by: LockedBy::Source } => ensure(
            retry_after <= HOUR && retry_after > HOUR / 2,
            "for an hour from the last of them",
            retry_after,
        ),
        other => fail("locked out", other),
    }
}

pub(super) async fn sources_and_keys_stay_apart(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    for _ in 0..3 {
        admitted(&here, "a", "s").await?;
    }
    locked(&there, "a", "s", LockedBy::Source).await?;
    admitted(&there, "a", "t").await?;
    admitted(&there, "b", "s").await?;
    // All together they lock the key out: six more.
    for source in 0..6 {
        admitted(&here, "a", &format!("s{source}")).await?;
    }
    locked(&there, "a", "u", LockedBy::Overall).await?;
    // Without a source only the key's own number counts.
    let overall = AttemptRequest::new(failures(2)?);
    for _ in 0..2 {
        let outcome = here.attempt(&key("c")?, &overall).await?;
        ensure(matches!(outcome, AttemptOutcome::Admitted(_)), "admitted, from nowhere", outcome)?;
    }
    let outcome = there.attempt(&key("c")?, &overall).await?;
    ensure(matches!(outcome, AttemptOutcome::Locked { by: LockedBy::Overall, .. }), "locked out", outcome)
}

pub(super) async fn lock_outs_grow(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    let failing = cx.while_it_lasts(|life, attempt| {
        let (here, there) = (&here, &there);
        async move {
            let key = key(&format!("a{attempt}"))?;
            let life = life.as_duration();
            let rule = Lockout::new(2, HOUR, life, 3 * life, HOUR)?;
            let request = AttemptRequest::new(failures(100)?).from_source("s", rule);
            for locks_for in [None, Some(life)] {
                match here.attempt(&key, &request).await? {
                    AttemptOutcome::Admitted(ticket) => {
                        same(ticket.locks_for, locks_for, "the first lock-out")?;
                    }
                    other => return fail("admitted", other),
                }
            }
            match there.attempt(&key, &request).await? {
                AttemptOutcome::Locked { retry_after, .. } if retry_after <= life => Ok((key, request, life)),
                other => fail("locked out for as long as was said", other),
            }
        }
    });
    let (key, request, life) = failing.await?;
    let mut wait = life;
    for locks_for in [2 * life, 3 * life] {
        cx.pass(Ttl::new(wait)?).await;
        for locks_for in [None, Some(locks_for)] {
            match there.attempt(&key, &request).await? {
                AttemptOutcome::Admitted(ticket) => {
                    same(ticket.locks_for, locks_for, "a later lock-out, twice as long, to the longest")?;
                }
                other => return fail("admitted after the lock-out", other),
            }
        }
        wait = locks_for;
    }
    Ok(())
}

pub(super) async fn a_success_clears(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    for _ in 0..30 {
        let ticket = admitted(&here, "a", "s").await?;
        there.settle(&key("a")?, &succeeded("s", ticket)?).await?;
    }
    // The last that may be made succeeds, after two that have not.
    for _ in 0..2 {
        admitted(&here, "a", "s").await?;
    }
    let last = admitted(&here, "a", "s").await?;
    same(last.locks_for, Some(HOUR), "the lock-out that begins, unless it succeeds")?;
    locked(&there, "a", "s", LockedBy::Source).await?;
    there.settle(&key("a")?, &succeeded("s", last)?).await?;
    for _ in 0..3 {
        admitted(&here, "a", "s").await?;
    }
    locked(&there, "a", "s", LockedBy::Source).await?;
    // Those of other sources stay: five of ten are left.
    for source in 0..5 {
        admitted(&here, "a", &format!("s{source}")).await?;
    }
    locked(&there, "a", "u", LockedBy::Overall).await
}

pub(super) async fn what_is_withdrawn_counts_nowhere(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    let withdrawn = |ticket| Settlement::Withdrawn { source: Some("s".into()), ticket };
    for _ in 0..30 {
        let ticket = admitted(&here, "a", "s").await?;
        there.settle(&key("a")?, &withdrawn(ticket)).await?;
    }
    let mut tickets = Vec::new();
    for _ in 0..3 {
        tickets.push(admitted(&here, "a", "s").await?);
    }
    locked(&there, "a", "s", LockedBy::Source).await?;
    there.settle(&key("a")?, &withdrawn(tickets[0])).await?;
    let again = admitted(&here, "a", "s").await?;
    same(again.known, false, "a withdrawal makes nothing known")?;
    locked(&there, "a", "s", LockedBy::Source).await?;
    // It counts no more than one, wherever it comes from.
    there.settle(&key("b")?, &withdrawn(again)).await?;
    locked(&there, "a", "s", LockedBy::Source).await
}

pub(super) async fn a_known_source_is_not_locked_out_by_others(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    let only_known = |source: &str| Ok::<_, crate::Failure>(request(source)?.only_known(true));
    let unknown = here.attempt(&key("a")?, &only_known("home")?).await?;
    same(unknown, AttemptOutcome::Unknown, "a source that has not succeeded")?;
    let ticket = admitted(&here, "a", "home").await?;
    same(ticket.known, false, "before it has succeeded")?;
    there.settle(&key("a")?, &succeeded("home", ticket)?).await?;
    for source in 0..10 {
        admitted(&here, "a", &format!("s{source}")).await?;
    }
    locked(&there, "a", "t", LockedBy::Overall).await?;
    let ticket = admitted(&there, "a", "home").await?;
    same(ticket.known, true, "after it has succeeded")?;
    let known = there.attempt(&key("a")?, &only_known("home")?).await?;
    ensure(matches!(known, AttemptOutcome::Admitted(_)), "where only known ones are admitted", known)?;
    admitted(&there, "a", "home").await?;
    locked(&here, "a", "home", LockedBy::Source).await?;
    // Whatever becomes of them is no news of the others.
    there.settle(&key("a")?, &succeeded("home", ticket)?).await?;
    locked(&there, "a", "t", LockedBy::Overall).await?;
    let elsewhere = here.attempt(&key("b")?, &only_known("home")?).await?;
    same(elsewhere, AttemptOutcome::Unknown, "known to another key")
}

pub(super) async fn strangers_displace_no_known_source(cx: &Context) -> Outcome {
    let Some([here, _]) = offered(cx).await? else { return Ok(()) };
    // So many that nothing here locks out.
    let never = failures(1_000_000)?;
    let from = |kind: &str, n: usize| AttemptRequest::new(never).from_source(format!("{kind}{n}"), never);
    for n in 0..KNOWN {
        match here.attempt(&key("a")?, &from("home", n)).await? {
            AttemptOutcome::Admitted(ticket) => {
                here.settle(&key("a")?, &succeeded(&format!("home{n}"), ticket)?).await?;
            }
            other => return fail("admitted, from home", other),
        }
    }
    for n in 0..100 {
        here.attempt(&key("a")?, &from("stranger", n)).await?;
    }
    for n in 0..KNOWN {
        let known = here.attempt(&key("a")?, &from("home", n).only_known(true)).await?;
        ensure(matches!(known, AttemptOutcome::Admitted(_)), &format!("home{n} is known"), known)?;
    }
    Ok(())
}

pub(super) async fn sources_have_names(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    let (two, long) = (failures(2)?, "s".repeat(513));
    let from = |source: &str| AttemptRequest::new(two).from_source(source, two);
    for bad in ["", long.as_str()] {
        let attempt = here.attempt(&key("a")?, &from(bad)).await;
        refused(attempt, ErrorKind::InvalidInput, "an attempt from a source with such a name")?;
        let ticket = AttemptTicket::default();
        let withdrawn = Settlement::Withdrawn { source: Some(bad.into()), ticket };
        for settlement in [withdrawn, succeeded(bad, ticket)?] {
            let settled = here.settle(&key("a")?, &settlement).await;
            refused(settled, ErrorKind::InvalidInput, "settling for a source with such a name")?;
        }
    }
    match there.attempt(&key("a")?, &from(&long[..512])).await? {
        AttemptOutcome::Admitted(ticket) => same(ticket.locks_for, None, "what was refused counts nowhere"),
        other => fail("admitted, from a source with a long name", other),
    }
}

pub(super) async fn an_administrator_unlocks(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    let ticket = admitted(&here, "a", "home").await?;
    here.settle(&key("a")?, &succeeded("home", ticket)?).await?;
    for account in ["a", "b"] {
        for source in 0..10 {
            admitted(&here, account, &format!("s{}", source / 3)).await?;
        }
        locked(&here, account, "t", LockedBy::Overall).await?;
    }
    there.settle(&key("a")?, &Settlement::Unlocked).await?;
    there.settle(&key("never seen")?, &Settlement::Unlocked).await?;
    for source in ["t", "s0", "s1"] {
        same(admitted(&here, "a", source).await?.known, false, source)?;
    }
    same(admitted(&here, "a", "home").await?.known, true, "a known source stays known")?;
    locked(&here, "b", "t", LockedBy::Overall).await
}

pub(super) async fn what_is_refused_prolongs_nothing(cx: &Context) -> Outcome {
    let Some([here, there]) = offered(cx).await? else { return Ok(()) };
    let failing = cx.while_it_lasts(|life, attempt| {
        let (here, there) = (&here, &there);
        async move {
            let key = key(&format!("a{attempt}"))?;
            let rule = Lockout::new(1, HOUR, life.as_duration(), HOUR, HOUR)?;
            let request = AttemptRequest::new(rule);
            here.attempt(&key, &request).await?;
            let mut last = Duration::MAX;
            for _ in 0..10 {
                match there.attempt(&key, &request).await? {
                    AttemptOutcome::Locked { retry_after, .. } => {
                        ensure(retry_after <= last, "no longer by being refused", retry_after)?;
                        last = retry_after;
                    }
                    other => return fail("locked out", other),
                }
            }
            Ok((key, request, life))
        }
    });
    let (key, request, life) = failing.await?;
    cx.pass(life).await;
    let after = here.attempt(&key, &request).await?;
    ensure(matches!(after, AttemptOutcome::Admitted(_)), "admitted after the lock-out", after)
}
