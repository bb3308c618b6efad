//! Failed log-ins, as a service counts them.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::future::join_all;
use stanchion::attempts::{Attempts, Begun, LockedOutBy};
use stanchion::event::Delivery;
use stanchion::event::standard::LockedOut;
use stanchion::layer::{Fault, Faults};
use stanchion::limit::Lockout;
use stanchion::{Error, ErrorKind};

use crate::{HOUR, MINUTE, manual, settled};

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn home() -> IpAddr {
    address("203.0.113.7")
}

async fn fail(attempts: &Attempts, account: &str, from: IpAddr) -> Option<Duration> {
    match attempts.begin(account, from).await.unwrap() {
        Begun::Admitted(attempt) => attempt.failed().await.unwrap(),
        locked @ Begun::Locked { .. } => panic!("{locked:?}"),
    }
}

async fn log_in(attempts: &Attempts, account: &str, from: IpAddr) -> bool {
    match attempts.begin(account, from).await.unwrap() {
        Begun::Admitted(attempt) => attempt.succeeded().await.map(|()| true).unwrap(),
        Begun::Locked { .. } => false,
    }
}

async fn locked_by(attempts: &Attempts, account: &str, from: IpAddr) -> Option<LockedOutBy> {
    match attempts.begin(account, from).await.unwrap() {
        Begun::Locked { by, .. } => Some(by),
        Begun::Admitted(attempt) => attempt.withdrawn().await.map(|()| None).unwrap(),
    }
}

#[tokio::test]
async fn log_ins_lock_nobody_out_and_failures_do() {
    let (clock, stores) = manual();
    let attempts = stores.attempts("login").build().unwrap();
    for _ in 0..200 {
        assert!(log_in(&attempts, "ada", home()).await);
    }
    for locks_for in [None, None, None, None, Some(MINUTE)] {
        assert_eq!(fail(&attempts, "ada", home()).await, locks_for);
    }
    assert_eq!(locked_by(&attempts, "ada", home()).await, Some(LockedOutBy::AccountFromNetwork));
    // Neither from elsewhere nor for others.
    assert_eq!(locked_by(&attempts, "ada", address("203.0.113.8")).await, None);
    assert_eq!(locked_by(&attempts, "bob", home()).await, None);
    clock.advance(MINUTE);
    assert!(log_in(&attempts, "ada", home()).await);
    // A success forgets the failures, and the earlier lock-out is remembered.
    for locks_for in [None, None, None, None, Some(2 * MINUTE)] {
        assert_eq!(fail(&attempts, "ada", home()).await, locks_for);
    }
    attempts.unlock("ada").await.unwrap();
    assert!(log_in(&attempts, "ada", home()).await);
}

#[tokio::test]
async fn guesses_at_once_are_no_more_than_guesses_in_a_row() {
    let (_clock, stores) = manual();
    let attempts = stores.attempts("login").build().unwrap();
    let guesses = join_all((0..50).map(|_| attempts.begin("ada", home()))).await;
    let admitted: Vec<_> = guesses
        .into_iter()
        .filter_map(|begun| match begun.unwrap() {
            Begun::Admitted(attempt) => Some(attempt),
            Begun::Locked { .. } => None,
        })
        .collect();
    assert_eq!(admitted.len(), 5);
    // Those that are dropped have failed.
    drop(admitted);
    settled().await;
    assert_eq!(locked_by(&attempts, "ada", home()).await, Some(LockedOutBy::AccountFromNetwork));
}

#[tokio::test]
async fn an_account_of_ones_own_forgets_nothing_at_others() {
    let (_clock, stores) = manual();
    let attempts = stores.attempts("login").build().unwrap();
    let bot = address("198.51.100.1");
    for guess in 0..50 {
        let _ = fail(&attempts, &format!("user{guess}"), bot).await;
        if guess < 49 {
            assert!(log_in(&attempts, "mallory", bot).await);
        }
    }
    assert_eq!(locked_by(&attempts, "user99", bot).await, Some(LockedOutBy::Network));
    // Whoever has logged in from there before is not locked out by it.
    assert!(log_in(&attempts, "mallory", bot).await);
    attempts.unlock_network(bot).await.unwrap();
    assert_eq!(locked_by(&attempts, "user99", bot).await, None);
}

#[tokio::test]
async fn many_networks_lock_an_account_but_not_its_owner() {
    let (_clock, stores) = manual();
    let attempts = stores.attempts("login").build().unwrap();
    assert!(log_in(&attempts, "ada", home()).await);
    for bot in 0..100 {
        let _ = fail(&attempts, "ada", address(&format!("2001:db8:0:{bot:x}::1"))).await;
    }
    assert_eq!(locked_by(&attempts, "ada", address("2001:db8:1::1")).await, Some(LockedOutBy::Account));
    assert!(log_in(&attempts, "ada", home()).await);
}

#[tokio::test]
async fn what_is_not_made_is_not_counted() {
    let (_clock, stores) = manual();
    let attempts = stores.attempts("login").build().unwrap();
    // Locked out at the account, it counts no more at the network.
    for _ in 0..5 {
        let _ = fail(&attempts, "ada", home()).await;
    }
    for _ in 0..200 {
        assert!(locked_by(&attempts, "ada", home()).await.is_some());
    }
    assert_eq!(locked_by(&attempts, "bob", home()).await, None);
    // And a caller that is gone before it knows has looked at nothing.
    for _ in 0..200 {
        let begin = attempts.begin("eve", address("203.0.113.9"));
        let mut begin = std::pin::pin!(begin);
        assert!(futures_util::poll!(begin.as_mut()).is_pending());
    }
    settled().await;
    assert_eq!(locked_by(&attempts, "eve", address("203.0.113.9")).await, None);
}

#[tokio::test]
async fn a_lock_out_is_an_event_and_a_store_that_is_away_refuses() {
    let (_clock, stores) = manual();
    let faults = Faults::new(stores.environment());
    let stores = stores.layer(faults.clone());
    let two = Lockout::new(2, HOUR, MINUTE, HOUR, HOUR).unwrap();
    let attempts = stores.attempts("login").from_one_network(two).publishing().build().unwrap();
    let mut events = stores.topic::<LockedOut>().unwrap().subscribe().await.unwrap();
    assert_eq!(fail(&attempts, "ada", address("2001:db8::1")).await, None);
    let Begun::Admitted(attempt) = attempts.begin("ada", address("2001:db8::2")).await.unwrap() else {
        panic!()
    };
    // Also where the service never says what became of it.
    drop(attempt);
    let Some(Delivery::Event { data: event, .. }) = events.next().await else { panic!() };
    assert_eq!((event.account.as_str(), event.network.as_str()), ("ada", "2001:db8::/64"));
    assert_eq!((event.kind.as_str(), event.seconds), ("login", 60));
    faults.plan("limit.attempt", 2, Fault::Fail(Error::new(ErrorKind::Unavailable, "down"))).unwrap();
    assert_eq!(attempts.begin("bob", home()).await.unwrap_err().kind(), ErrorKind::Unavailable);
}

/// The caller goes away between the answer and taking it: nobody has looked at anything.
#[tokio::test]
async fn an_attempt_that_nobody_takes_counts_nowhere() {
    let (_clock, stores) = manual();
    let attempts = stores.attempts("login").build().unwrap();
    for _ in 0..20 {
        let mut begin = Box::pin(attempts.begin("ada", home()));
        assert!(futures_util::poll!(&mut begin).is_pending());
        settled().await;
        drop(begin);
        settled().await;
    }
    assert_eq!(locked_by(&attempts, "ada", home()).await, None);
}
