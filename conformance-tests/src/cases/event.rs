//! Events.

use super::rules;
use crate::check::{PATIENCE, dropped_after, ensure, fail, name, refused, same};
use crate::{Context, Outcome};

use std::time::Duration;

use futures_util::StreamExt;
use stanchion::ErrorKind;
use stanchion::event::{Envelope, EventBus, EventId, EventType, Received, SubscribeOptions, Subscription};
use stanchion::stores::Stores;
use stanchion::time::Timestamp;

fn options(domain: &str) -> Outcome<SubscribeOptions> {
    Ok(SubscribeOptions::new(name(domain)?))
}

fn event(stores: &Stores, event_type: &str, n: u64) -> Outcome<Envelope> {
    let environment = stores.environment();
    let id = EventId::generate(&*environment.clock, &*environment.random)?;
    Ok(Envelope::new(
        id,
        "suite",
        EventType::new(event_type)?,
        Timestamp::from_micros(1_750_000_000_000_000 + n),
        n.into(),
    ))
}

/// The next thing within a bound: a bus that delivers nothing fails the case and does not hang it.
async fn next(subscription: &mut Box<dyn Subscription>, what: &str) -> Outcome<Option<Received>> {
    match tokio::time::timeout(PATIENCE, subscription.next()).await {
        Ok(received) => Ok(received),
        Err(_) => fail(format!("{what}, within {PATIENCE:?}"), "nothing"),
    }
}
async fn number(subscription: &mut Box<dyn Subscription>, what: &str) -> Outcome<u64> {
    number_of(next(subscription, what).await?, what)
}
fn number_of(received: Option<Received>, what: &str) -> Outcome<u64> {
    match received {
        Some(Received::Event(event)) if event.data.is_u64() => Ok(event.data.as_u64().unwrap_or_default()),
        other => fail(format!("{what}: an event"), other),
    }
}
/// The next thing is the event of this number.
async fn gets(subscription: &mut Box<dyn Subscription>, n: u64, what: &str) -> Outcome {
    same(number(subscription, what).await?, n, what)
}
async fn publish(bus: &dyn EventBus, stores: &Stores, event_type: &str, n: u64) -> Outcome {
    Ok(bus.publish(&event(stores, event_type, n)?).await?)
}

async fn a_subscription_is_live_once_it_is_returned(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    for n in 0..20 {
        let mut subscription = there.event_bus()?.subscribe(options("user")?).await?;
        publish(&*here.event_bus()?, &here, "user.updated", n).await?;
        gets(&mut subscription, n, "the event published right after subscribing").await?;
    }
    Ok(())
}

async fn an_event_arrives_as_it_was(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    let mut subscription = there.event_bus()?.subscribe(options("user")?).await?;
    let mut sent = event(&here, "user.profile.updated", 1)?.subject(Some("u:1 é\n".into()));
    sent = sent
        .trace(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()), Some("v=1".into()));
    sent.data = serde_json::json!({"text": "é\u{0}\n\"", "list": [1, 2.5, null], "big": u64::MAX});
    here.event_bus()?.publish(&sent).await?;
    match next(&mut subscription, "the event").await? {
        Some(Received::Event(received)) => same(*received, sent, "the whole event"),
        other => fail("the event", other),
    }
}

async fn events_of_a_domain_keep_their_order(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    let mut subscription = there.event_bus()?.subscribe(options("user")?).await?;
    for n in 0..200 {
        publish(&*here.event_bus()?, &here, if n % 2 == 0 { "user.created" } else { "user.deleted" }, n)
            .await?;
    }
    for n in 0..200 {
        gets(&mut subscription, n, "events in order, none missing, none twice").await?;
    }
    Ok(())
}

async fn only_subscribed_domains_arrive(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let bus = stores.event_bus()?;
    let mut one = bus.subscribe(options("user")?).await?;
    let mut both = bus.subscribe(options("user")?.and(name("auth")?)).await?;
    for (n, event_type) in (0..).zip(["other.x", "auth.x", "user.x", "users.x", "auth.y", "user.y"]) {
        publish(&*bus, &stores, event_type, n).await?;
    }
    let what = "events of one domain";
    same([number(&mut one, what).await?, number(&mut one, what).await?], [2, 5], what)?;
    let (what, mut got) = ("events of two domains", Vec::new());
    for _ in 0..4 {
        got.push(number(&mut both, what).await?);
    }
    // Between domains there is no order.
    got.sort_unstable();
    same(got, vec![1, 2, 4, 5], what)
}

async fn every_subscriber_gets_every_event(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    let mut all = Vec::new();
    for stores in [&here, &here, &there] {
        all.push(stores.event_bus()?.subscribe(options("user")?).await?);
    }
    for n in 0..3 {
        publish(&*here.event_bus()?, &here, "user.x", n).await?;
    }
    for subscription in &mut all {
        for n in 0..3 {
            gets(subscription, n, "the events of each subscriber").await?;
        }
    }
    Ok(())
}

async fn nothing_is_kept_for_later_subscriptions(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let bus = stores.event_bus()?;
    let mut witness = bus.subscribe(options("user")?).await?;
    publish(&*bus, &stores, "user.x", 1).await?;
    // On its way an event may be slow, between the nodes of a Cluster say; now it has reached this handle.
    gets(&mut witness, 1, "the event for the subscription that was there").await?;
    let mut later = bus.subscribe(options("user")?).await?;
    publish(&*bus, &stores, "user.x", 2).await?;
    gets(&mut later, 2, "the first event of a later subscription").await?;
    gets(&mut witness, 2, "the next event of the earlier subscription").await
}

async fn a_slow_subscriber_is_told_what_it_missed(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let bus = stores.event_bus()?;
    let mut slow = bus.subscribe(options("user")?.buffer(8)?).await?;
    let mut quick = bus.subscribe(options("user")?).await?;
    for n in 0..50 {
        publish(&*bus, &stores, "user.x", n).await?;
    }
    for n in 0..50 {
        gets(&mut quick, n, "a quick subscriber beside a slow one").await?;
    }
    let (mut lagged, mut last, mut seen) = (0, None, 0);
    while last != Some(49) {
        match next(&mut slow, "an event or what was missed").await? {
            Some(Received::Lagged(n)) => lagged += n,
            Some(Received::Event(event)) => {
                let n = event.data.as_u64();
                ensure(n > last, "in order", (last, n))?;
                (last, seen) = (n, seen + 1);
            }
            other => return fail("an event or what was missed", other),
        }
    }
    ensure(lagged > 0, "a buffer of 8 lags behind 50 events", lagged)?;
    same(lagged + seen, 50, "events received and events counted as missed")
}

async fn a_closed_subscription_ends(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let bus = stores.event_bus()?;
    let mut closed = bus.subscribe(options("user")?).await?;
    let mut open = bus.subscribe(options("user")?).await?;
    publish(&*bus, &stores, "user.x", 1).await?;
    gets(&mut open, 1, "the subscription that stays").await?;
    gets(&mut closed, 1, "the subscription before it is closed").await?;
    closed.close();
    publish(&*bus, &stores, "user.x", 2).await?;
    gets(&mut open, 2, "the subscription that stays, after the other was closed").await?;
    let what = "a closed subscription ends";
    let end = next(&mut closed, what).await?;
    ensure(end.is_none(), what, end)
}

async fn a_closed_backend_ends_its_subscriptions(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?, cx.open().await?);
    let mut mine = here.event_bus()?.subscribe(options("user")?).await?;
    let mut theirs = there.event_bus()?.subscribe(options("user")?).await?;
    here.close(Duration::from_secs(5)).await?;
    let what = "the closed handle's subscription ends";
    let end = next(&mut mine, what).await?;
    ensure(end.is_none(), what, end)?;
    publish(&*there.event_bus()?, &there, "user.x", 1).await?;
    gets(&mut theirs, 1, "the other handle's subscription goes on").await?;
    refused(here.event_bus()?.subscribe(options("user")?).await, ErrorKind::Closed, "subscribing after close")
}

async fn too_large_an_event_is_refused(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let bus = stores.event_bus()?;
    let mut subscription = bus.subscribe(options("user")?).await?;
    let mut large = event(&stores, "user.x", 1)?;
    large.data = "".into();
    let rest = bus.capabilities().max_event_bytes.saturating_sub(large.to_json()?.len());
    large.data = "x".repeat(rest + 1).into();
    refused(bus.publish(&large).await, ErrorKind::InvalidInput, "an event over the bound")?;
    large.data = "x".repeat(rest).into();
    bus.publish(&large).await?;
    match next(&mut subscription, "the largest event").await? {
        Some(Received::Event(received)) => ensure(*received == large, "the largest event", "another one")?,
        other => return fail("the largest event", other.map(|_| "something else")),
    }
    publish(&*bus, &stores, "user.x", 2).await?;
    gets(&mut subscription, 2, "the next event").await
}

async fn bad_options_are_refused(cx: &Context) -> Outcome {
    let bus = cx.open().await?.event_bus()?;
    for buffer in [0, SubscribeOptions::MAX_BUFFER + 1] {
        let mut options = options("user")?;
        options.buffer = buffer;
        refused(bus.subscribe(options).await, ErrorKind::InvalidInput, "a buffer out of bounds")?;
    }
    let mut nothing = options("user")?;
    nothing.domains.clear();
    refused(bus.subscribe(nothing).await, ErrorKind::InvalidInput, "a subscription to nothing")
}

async fn places_stay_apart(cx: &Context) -> Outcome {
    let (here, elsewhere) = (cx.open().await?, cx.elsewhere().await?);
    let mut subscription = here.event_bus()?.subscribe(options("user")?).await?;
    let mut witness = elsewhere.event_bus()?.subscribe(options("user")?).await?;
    publish(&*elsewhere.event_bus()?, &elsewhere, "user.x", 1).await?;
    gets(&mut witness, 1, "the event where it was published").await?;
    publish(&*here.event_bus()?, &here, "user.x", 2).await?;
    gets(&mut subscription, 2, "the first event of this place").await
}

async fn a_dropped_next_loses_nothing(cx: &Context) -> Outcome {
    let stores = cx.open().await?;
    let bus = stores.event_bus()?;
    let mut subscription = bus.subscribe(options("user")?).await?;
    let mut witness = bus.subscribe(options("user")?).await?;
    for n in 0..12 {
        publish(&*bus, &stores, "user.x", n).await?;
        gets(&mut witness, n, "the event for another subscription").await?;
    }
    let (what, mut got) = ("every event, also after `next` was dropped", Vec::new());
    for polls in 0..8 {
        if let Some(received) = dropped_after(polls % 3, subscription.next()).await {
            got.push(number_of(received, what)?);
        }
    }
    while got.len() < 12 {
        got.push(number(&mut subscription, what).await?);
    }
    same(got, (0..12).collect(), what)
}

rules! {
    "EVENT-01" Must "Once subscribe has returned, every event published in its domains arrives." => [
        "subscribe::live_once_returned": a_subscription_is_live_once_it_is_returned,
        "subscribe::every_subscriber_gets_every_event": every_subscriber_gets_every_event,
    ];
    "EVENT-02" Must "An event arrives as it was published." => ["envelope::arrives_as_it_was": an_event_arrives_as_it_was];
    "EVENT-03" Must "Events of one publisher in one domain arrive in order, none twice." => [
        "order::within_a_domain": events_of_a_domain_keep_their_order,
    ];
    "EVENT-04" Must "Only events of the subscribed domains arrive." => ["subscribe::only_its_domains": only_subscribed_domains_arrive];
    "EVENT-05" Must "An event that has reached a handle is not kept for its later subscriptions." => [
        "subscribe::nothing_is_kept": nothing_is_kept_for_later_subscriptions,
    ];
    "EVENT-06" Must "A slow subscriber holds up nobody, and receives how many events it missed." => [
        "lag::is_counted": a_slow_subscriber_is_told_what_it_missed,
    ];
    "EVENT-07" Must "A closed subscription ends, and no other." => ["close::ends_the_subscription": a_closed_subscription_ends];
    "EVENT-08" Must "Closing a handle ends its subscriptions, and no others." => [
        "close::of_the_handle": a_closed_backend_ends_its_subscriptions,
    ];
    "EVENT-09" Must "An event over the bound is refused, and disturbs nothing." => ["input::too_large": too_large_an_event_is_refused];
    "EVENT-10" Must "A buffer out of bounds and a subscription to nothing are refused." => ["input::bad_options": bad_options_are_refused];
    "EVENT-11" Must "Places stay apart." => ["isolation::places": places_stay_apart];
    "EVENT-12" Must "Dropping `next` loses nothing." => ["cancel::next_loses_nothing": a_dropped_next_loses_nothing];
}
