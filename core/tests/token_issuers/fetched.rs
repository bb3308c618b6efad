//! Keys that are fetched: when, how often, and what happens where they can't be.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use stanchion::clock::ManualClock;
use stanchion::prelude::*;
use stanchion::token::{FetchJwks, Invalid, Issuer, Jwks, JwtAlgorithm};
use stanchion_memory::MemoryBackend;
use tokio::sync::Semaphore;

use super::keys::{ISSUER, NOW, claims, invalid, pair};
use super::support::{manual, settle};

/// An issuer that a test drives.
#[derive(Debug)]
struct Provider {
    /// Its keys by id; none if it is away.
    keys: Mutex<Option<Vec<&'static str>>>,
    fetches: AtomicUsize,
    /// How many fetches are answered.
    open: Semaphore,
    panics: std::sync::atomic::AtomicBool,
}

impl Provider {
    fn new(keys: &[&'static str]) -> Arc<Self> {
        Arc::new(Self {
            keys: Mutex::new(Some(keys.to_vec())),
            fetches: AtomicUsize::new(0),
            open: Semaphore::new(1_000),
            panics: false.into(),
        })
    }

    fn set(&self, keys: Option<&[&'static str]>) {
        *self.keys.lock().unwrap() = keys.map(<[_]>::to_vec);
    }

    fn fetches(&self) -> usize {
        self.fetches.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl FetchJwks for Provider {
    async fn fetch(&self) -> stanchion::Result<String> {
        self.fetches.fetch_add(1, Ordering::SeqCst);
        assert!(!self.panics.load(Ordering::SeqCst), "as the test asks for");
        self.open.acquire().await.unwrap().forget();
        let keys = self.keys.lock().unwrap().clone();
        let keys = keys.ok_or_else(|| Error::new(ErrorKind::Unavailable, "the issuer is away"))?;
        let pair = pair(JwtAlgorithm::ES256);
        Ok(Jwks::of(keys.into_iter().map(|id| pair.verifying(id))).to_json())
    }
}

fn issuer(provider: &Arc<Provider>) -> Issuer {
    Issuer::fetching(ISSUER, provider.clone()).audience("shop")
}

fn accepting(backend: &MemoryBackend, issuer: Issuer) -> Tokens {
    backend.stores().service("shop").unwrap().tokens().accepting(issuer).max_life(hours(24)).build().unwrap()
}

fn scene(keys: &[&'static str]) -> (Arc<Provider>, Tokens, ManualClock) {
    let (backend, clock) = manual();
    let provider = Provider::new(keys);
    let tokens = accepting(&backend, issuer(&provider));
    (provider, tokens, clock)
}

/// A token of a day.
fn signed_by(kid: &str) -> String {
    let mut claims = claims();
    claims["exp"] = (NOW + 86_400).into();
    pair(JwtAlgorithm::ES256).sign(Some(kid), &claims)
}

fn unchecked<T: std::fmt::Debug>(outcome: Result<T, VerifyError>) -> ErrorKind {
    match outcome {
        Err(VerifyError::Unchecked(error)) => error.kind(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn fifty_tokens_at_once_cause_one_fetch() {
    let (provider, tokens, _) = scene(&["k1"]);
    assert_eq!(provider.fetches(), 0, "nothing is fetched before it is needed");
    let calls: Vec<_> = (0..50)
        .map(|_| {
            let tokens = tokens.clone();
            tokio::spawn(async move { tokens.verify(&signed_by("k1")).await.map(drop) })
        })
        .collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test]
async fn an_unknown_key_is_fetched_for_but_not_again_and_again() {
    let (provider, tokens, clock) = scene(&["k1"]);
    tokens.verify(&signed_by("k1")).await.unwrap();
    for n in 0..20 {
        let made_up = signed_by(&format!("made-up-{n}"));
        assert_eq!(invalid(tokens.verify(&made_up).await), Invalid::UnknownKey);
    }
    assert_eq!(provider.fetches(), 1, "within the cool-down");
    provider.set(Some(&["k1", "k2"]));
    assert_eq!(invalid(tokens.verify(&signed_by("k2")).await), Invalid::UnknownKey);
    clock.advance(seconds(30));
    tokens.verify(&signed_by("k2")).await.unwrap();
    assert_eq!(provider.fetches(), 2, "a rotation is seen with the first token after the cool-down");
    // However many come with names of no key: one fetch for each cool-down.
    for _ in 0..10 {
        clock.advance(seconds(10));
        for n in 0..5 {
            let _ = tokens.verify(&signed_by(&format!("made-up-{n}"))).await;
        }
    }
    assert!(provider.fetches() <= 6, "{} fetches in 100 s", provider.fetches());
    tokens.verify(&signed_by("k1")).await.unwrap();
}

#[tokio::test]
async fn a_withdrawn_key_is_refused_within_the_stated_time() {
    let (provider, tokens, clock) = scene(&["k1", "k2"]);
    tokens.verify(&signed_by("k1")).await.unwrap();
    provider.set(Some(&["k2"]));
    clock.advance(minutes(9));
    tokens.verify(&signed_by("k1")).await.unwrap();
    assert_eq!(provider.fetches(), 1);
    // From now on it is refreshed behind the caller.
    clock.advance(minutes(1));
    tokens.verify(&signed_by("k1")).await.unwrap();
    settle().await;
    assert_eq!(provider.fetches(), 2);
    assert_eq!(invalid(tokens.verify(&signed_by("k1")).await), Invalid::UnknownKey);
    tokens.verify(&signed_by("k2")).await.unwrap();

    // And in front, where nobody has asked for long.
    provider.set(Some(&["k3"]));
    clock.advance(minutes(20));
    assert_eq!(invalid(tokens.verify(&signed_by("k2")).await), Invalid::UnknownKey);
    assert_eq!(provider.fetches(), 3);
}

#[tokio::test]
async fn an_issuer_that_is_away_costs_its_known_keys_nothing_for_a_while() {
    let (provider, tokens, clock) = scene(&["k1"]);
    tokens.verify(&signed_by("k1")).await.unwrap();
    provider.set(None);
    for _ in 0..23 * 6 {
        clock.advance(minutes(10));
        tokens.verify(&signed_by("k1")).await.unwrap();
    }
    // What an unknown key is nobody knows.
    assert_eq!(unchecked(tokens.verify(&signed_by("k2")).await), ErrorKind::Unavailable);
    clock.advance(minutes(59) + seconds(29));
    tokens.verify(&signed_by("k1")).await.unwrap();
    clock.advance(seconds(31));
    assert_eq!(unchecked(tokens.verify(&signed_by("k1")).await), ErrorKind::Unavailable, "after 24 hours");
    provider.set(Some(&["k1"]));
    clock.advance(seconds(30));
    assert!(matches!(tokens.verify(&signed_by("k1")).await, Ok(_) | Err(VerifyError::Expired)));
}

#[tokio::test]
async fn failures_are_tried_again_after_growing_pauses() {
    let (provider, tokens, clock) = scene(&["k1"]);
    provider.set(None);
    let mut seen = Vec::new();
    for _ in 0..64 {
        let before = provider.fetches();
        assert_eq!(unchecked(tokens.verify(&signed_by("k1")).await), ErrorKind::Unavailable);
        seen.push(provider.fetches() - before);
        clock.advance(seconds(1));
    }
    let at: Vec<_> = (0..64).filter(|second| seen[*second] > 0).collect();
    assert_eq!(at, [0, 1, 3, 7, 15, 31, 61], "1, 2, 4, 8, 16, and then 30 seconds apart");
    provider.set(Some(&["k1"]));
    clock.advance(seconds(30));
    tokens.verify(&signed_by("k1")).await.unwrap();
}

#[tokio::test]
async fn a_fetch_that_never_ends_or_panics_ends_for_its_callers() {
    let (provider, tokens, clock) = scene(&["k1"]);
    provider.open.forget_permits(1_000);
    let waiting = tokio::spawn({
        let tokens = tokens.clone();
        async move { unchecked(tokens.verify(&signed_by("k1")).await) }
    });
    // Whoever gives up does not end the fetch for the others.
    let impatient = tokio::spawn({
        let tokens = tokens.clone();
        async move { tokens.verify(&signed_by("k1")).await.is_ok() }
    });
    settle().await;
    impatient.abort();
    settle().await;
    assert!(!waiting.is_finished());
    clock.advance(seconds(5));
    assert_eq!(waiting.await.unwrap(), ErrorKind::Timeout);
    assert_eq!(provider.fetches(), 1);

    provider.panics.store(true, Ordering::SeqCst);
    clock.advance(seconds(1));
    assert_eq!(unchecked(tokens.verify(&signed_by("k1")).await), ErrorKind::Timeout);
    provider.panics.store(false, Ordering::SeqCst);
    provider.open.add_permits(1_000);
    clock.advance(seconds(1));
    tokens.verify(&signed_by("k1")).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_gives_up_leaves_the_keys_to_the_next() {
    let (provider, tokens, _) = scene(&["k1"]);
    provider.open.forget_permits(1_000);
    let token = signed_by("k1");
    let call = tokio::time::timeout(Duration::from_millis(1), tokens.verify(&token));
    assert!(call.await.is_err());
    provider.open.add_permits(1);
    settle().await;
    tokens.verify(&token).await.unwrap();
    assert_eq!(provider.fetches(), 1);
}

#[tokio::test]
async fn processes_fetch_for_each_other_through_a_cache() {
    let (backend, clock) = manual();
    let (provider, other) = (Provider::new(&["k1"]), backend.handle());
    let shared = |backend: &MemoryBackend| {
        accepting(backend, issuer(&provider).shared_through(backend.stores().cache_store().unwrap()))
    };
    let (here, there) = (shared(&backend), shared(&other));
    here.verify(&signed_by("k1")).await.unwrap();
    there.verify(&signed_by("k1")).await.unwrap();
    assert_eq!(provider.fetches(), 1);
    // A rotation: whoever sees it first fetches for all.
    provider.set(Some(&["k1", "k2"]));
    clock.advance(seconds(60));
    there.verify(&signed_by("k2")).await.unwrap();
    here.verify(&signed_by("k2")).await.unwrap();
    assert_eq!(provider.fetches(), 2);
    // What is in the cache is no older for that.
    provider.set(Some(&["k2"]));
    clock.advance(minutes(20));
    assert_eq!(invalid(here.verify(&signed_by("k1")).await), Invalid::UnknownKey);
    assert_eq!(invalid(there.verify(&signed_by("k1")).await), Invalid::UnknownKey);
    assert_eq!(provider.fetches(), 3);
    // And where it holds something else, or can't be read, keys are fetched.
    let key = Key::new("cache", "token-issuer", ISSUER).unwrap();
    let store = backend.stores().cache_store().unwrap();
    let options = stanchion::cache::SetOptions::new(stanchion::time::Ttl::MAX);
    let _ = store.set(&key, "no keys".into(), &options).await.unwrap();
    clock.advance(minutes(20));
    here.verify(&signed_by("k2")).await.unwrap();
    assert_eq!(provider.fetches(), 4);
}

#[test]
fn paces_that_make_no_sense_are_refused() {
    let (backend, _) = manual();
    let provider = Provider::new(&["k1"]);
    let build = |issuer: Issuer| backend.stores().tokens().accepting(issuer).build().map(drop);
    assert!(build(issuer(&provider)).is_ok());
    assert!(build(issuer(&provider).cool_down(seconds(0))).is_err());
    assert!(build(issuer(&provider).timeout(seconds(0))).is_err());
    assert!(build(issuer(&provider).refresh_every(seconds(10))).is_err());
    assert!(build(issuer(&provider).keep_for(minutes(19))).is_err());
    assert!(build(issuer(&provider).rsa_algorithm(JwtAlgorithm::ES256)).is_err());
    assert!(build(issuer(&provider).refresh_every(Duration::MAX).keep_for(Duration::MAX)).is_ok());
}
