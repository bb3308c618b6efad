//! What becomes of calls while their server is away, and when a reply is lost.

mod calls;

use std::time::Duration;

use futures_util::StreamExt;
use stanchion::environment::Health;
use stanchion::event::{Received, SubscribeOptions, Subscription};
use stanchion::stores::Stores;
use stanchion::{Effect, Error, ErrorKind, Result};

use self::calls::{Call, Counted, calls, event};
use super::rules;
use crate::check::{ensure, fail, name, pause, same};
use crate::{Context, Failure, Outcome};

/// For what must come: a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(30);
/// Over a call's deadline, for the same reason.
const GRACE: Duration = Duration::from_secs(5);

/// Asks again and again, until the answer is no error.
async fn eventually<T, F: Future<Output = Result<T>>>(what: &str, ask: impl Fn() -> F) -> Outcome<T> {
    let mut last = None;
    let asking = async {
        loop {
            match ask().await {
                Ok(answer) => return answer,
                Err(error) => last = Some(error),
            }
            pause(Duration::from_millis(10)).await;
        }
    };
    match tokio::time::timeout(PATIENCE, asking).await {
        Ok(answer) => Ok(answer),
        Err(_) => fail(format!("{what} within {PATIENCE:?}"), last),
    }
}

async fn becomes(stores: &Stores, what: &str, wanted: fn(&Health) -> bool) -> Outcome {
    let mut health = stores.health();
    let waited = tokio::time::timeout(PATIENCE, health.wait_for(wanted)).await;
    ensure(waited.is_ok(), what, stores.health().current())
}

async fn is_up(stores: &Stores) -> Outcome {
    becomes(stores, "Up again", |health| *health == Health::Up).await
}

/// The error of a call on a server that is away: it must come in time, and be of a kind that passes.
async fn error_of(call: &Call, deadline: Duration) -> Outcome<Error> {
    let what = format!("{} while the server is away: unavailable or timeout, within {deadline:?}", call.name);
    match tokio::time::timeout(deadline + GRACE, (call.ask)()).await {
        Ok(Err(error)) if matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Timeout) => Ok(error),
        other => fail(what, other),
    }
}

async fn calls_fail_while_the_server_is_away(cx: &Context) -> Outcome {
    let server = cx.server().await?;
    let stores = server.open().await?;
    for call in calls(&stores) {
        (call.ask)().await?;
    }
    server.stop().await?;
    for call in calls(&stores) {
        error_of(&call, server.deadline()).await?;
    }
    Ok(())
}

async fn what_is_said_to_be_undone_is_undone(cx: &Context) -> Outcome {
    let server = cx.server().await?;
    let (here, there) = (server.open().await?, server.open().await?);
    let counted = Counted::offered(&here)?;
    for one in &counted {
        one.add(&here, "queued").await?;
    }
    server.stop().await?;
    let mut unknown = vec![0; counted.len()];
    for _ in 0..20 {
        for (one, unknown) in counted.iter().zip(&mut unknown) {
            let error = error_of(&one.call(&here, "queued"), server.deadline()).await?;
            *unknown += u64::from(error.effect() == Effect::Unknown);
        }
        // A read changes nothing, whatever became of it.
        for call in calls(&here).iter().filter(|call| !call.writes) {
            let error = error_of(call, server.deadline()).await?;
            same(error.effect(), Effect::NotApplied, &format!("the effect of {}", call.name))?;
        }
    }
    server.start().await?;
    is_up(&here).await?;
    for (one, unknown) in counted.iter().zip(unknown) {
        // What is queued for later comes with the next call, or soon after it.
        eventually("an answer", || one.add(&here, "queued")).await?;
        let count = eventually("the count", || one.count(&there, "queued")).await?;
        let most = 2 + unknown;
        let what = format!("{}: what was not applied was not done, so at most {most}", one.name());
        ensure((2..=most).contains(&count), &what, count)?;
    }
    Ok(())
}

async fn calls_are_answered_again(cx: &Context) -> Outcome {
    let server = cx.server().await?;
    let stores = server.open().await?;
    for _ in 0..2 {
        server.stop().await?;
        for call in calls(&stores).iter().take(3) {
            error_of(call, server.deadline()).await?;
        }
        server.start().await?;
        for call in calls(&stores) {
            eventually(&format!("{} is answered again", call.name), || (call.ask)()).await?;
        }
    }
    Ok(())
}

async fn the_health_follows(cx: &Context) -> Outcome {
    let server = cx.server().await?;
    let stores = server.open().await?;
    is_up(&stores).await?;
    server.stop().await?;
    // So that it is noticed where nobody asks by himself.
    for call in calls(&stores).iter().take(1) {
        error_of(call, server.deadline()).await?;
    }
    becomes(&stores, "not Up while the server is away", |health| *health != Health::Up).await?;
    server.start().await?;
    is_up(&stores).await
}

/// The error of an addition whose reply was lost, and how often it was done.
async fn lost(
    server: &crate::context::Server<'_>,
    one: Counted,
    here: &Stores,
    there: &Stores,
) -> Outcome<(Result<()>, u64)> {
    // So that what a store does once only is done.
    let of = one.lost();
    one.add(here, of).await?;
    server.lose_reply_to(of).await?;
    let outcome = one.add(here, of).await;
    is_up(here).await?;
    let count = eventually("the count", || one.count(there, of)).await?;
    Ok((outcome, count.saturating_sub(1)))
}

async fn a_lost_reply_leaves_doubt(cx: &Context) -> Outcome {
    let server = cx.server().await?;
    let (here, there) = (server.open().await?, server.open().await?);
    for one in Counted::offered(&here)? {
        let (outcome, _) = lost(&server, one, &here, &there).await?;
        let what = format!("{} whose reply is lost: may have been applied", one.name());
        match outcome {
            Err(error) if error.effect() == Effect::Unknown && error.kind().is_transient() => {}
            other => return fail(what, other),
        }
    }
    Ok(())
}

async fn a_lost_reply_is_no_reason_to_ask_again(cx: &Context) -> Outcome {
    let server = cx.server().await?;
    let (here, there) = (server.open().await?, server.open().await?);
    for one in Counted::offered(&here)? {
        let (_, times) = lost(&server, one, &here, &there).await?;
        same(times, 1, &format!("how often {} was done, whose reply is lost", one.name()))?;
    }
    Ok(())
}

async fn a_read_whose_reply_is_lost_changed_nothing(cx: &Context) -> Outcome {
    let server = cx.server().await?;
    let stores = server.open().await?;
    for call in calls(&stores) {
        let Some(text) = call.text else {
            continue;
        };
        (call.ask)().await?;
        server.lose_reply_to(text).await?;
        match (call.ask)().await {
            Err(error) if error.effect() == Effect::NotApplied && error.kind().is_transient() => {}
            other => return fail(format!("{} whose reply is lost: nothing was applied", call.name), other),
        }
        is_up(&stores).await?;
    }
    Ok(())
}

async fn next(subscription: &mut Box<dyn Subscription>, what: &str) -> Outcome<Received> {
    match tokio::time::timeout(PATIENCE, subscription.next()).await {
        Ok(Some(received)) => Ok(received),
        other => fail(what, other),
    }
}

async fn a_subscriber_is_told_of_the_gap(cx: &Context) -> Outcome {
    let server = cx.server().await?;
    let stores = server.open().await?;
    let Ok(bus) = stores.event_bus() else {
        return Err(Failure::Ignored("no events are offered".into()));
    };
    let mut subscription = bus.subscribe(SubscribeOptions::new(name("user")?)).await?;
    for _ in 0..2 {
        server.stop().await?;
        let sent = event(&stores, "user.updated")?;
        ensure(
            bus.publish(&sent).await.is_err(),
            "no event is published to a server that is away",
            "one was",
        )?;
        server.start().await?;
        let what = "Reconnected, after an outage in which events may have been missed";
        match next(&mut subscription, what).await? {
            Received::Reconnected => {}
            other => return fail(what, other),
        }
        is_up(&stores).await?;
        let sent = event(&stores, "user.updated")?;
        eventually("an event is published again", || bus.publish(&sent)).await?;
        // A server of several nodes may have gone, and been noticed, in several steps.
        let what = "the event after the outage";
        let received = loop {
            match next(&mut subscription, what).await? {
                Received::Reconnected => {}
                Received::Event(received) => break received,
                other => return fail(what, other),
            }
        };
        same(received.id, sent.id, what)?;
    }
    Ok(())
}

rules! {
    "FAULT-01" Must "While the server is away every call fails within its deadline, as unavailable or timeout." => ["away::calls_fail_in_time": calls_fail_while_the_server_is_away];
    "FAULT-02" Must "What is said to be not applied while the server is away is never done, also not later; a read is in no doubt." => ["away::not_applied_is_not_done": what_is_said_to_be_undone_is_undone];
    "FAULT-03" Must "Once the server is back, calls are answered again, and nobody has to do anything for it." => ["away::calls_recover": calls_are_answered_again];
    "FAULT-04" Must "While the server is away the health is not up, and is up again once it is back." => ["away::health_follows": the_health_follows];
    "FAULT-05" Must "A change whose reply is lost may have been applied, and the error says so." => ["lost_reply::is_unknown": a_lost_reply_leaves_doubt];
    "FAULT-06" Must "A change whose reply is lost is not asked for again." => ["lost_reply::is_done_once": a_lost_reply_is_no_reason_to_ask_again];
    "FAULT-07" Must "A read whose reply is lost has changed nothing, and the error says so." => ["lost_reply::of_a_read": a_read_whose_reply_is_lost_changed_nothing];
    "FAULT-08" Must "After an outage a subscriber receives that it may have missed something, before anything else; then events flow again." => ["subscription::gap_is_told": a_subscriber_is_told_of_the_gap];
}
