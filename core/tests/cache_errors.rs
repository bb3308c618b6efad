//! The error of a load in services whose errors are of one kind for everything.
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod support;

use std::convert::Infallible;
use std::error::Error as _;
use std::io;
use std::sync::Arc;

use anyhow::Context as _;
use stanchion::prelude::*;

use support::{instant, manual, settle};

type Boxed = Box<dyn std::error::Error + Send + Sync>;

fn cache() -> Cache<u32> {
    manual().0.stores().cache("n").build().unwrap()
}

fn refused() -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionRefused, "refused")
}

async fn with_anyhow(cache: &Cache<u32>, fails: bool) -> anyhow::Result<u32> {
    let load =
        move || async move { if fails { Err(refused()).context("the database is away") } else { Ok(7) } };
    Ok(*cache.get_or_load(1, load).await?)
}

async fn with_box(cache: &Cache<u32>, fails: bool) -> Result<u32, Boxed> {
    let load = move || async move { if fails { Err(Boxed::from(refused())) } else { Ok(7) } };
    Ok(*cache.get_or_load(1, load).await?)
}

async fn with_a_local_box(cache: &Cache<u32>, fails: bool) -> Result<u32, Box<dyn std::error::Error>> {
    let load = move || async move { if fails { Err(refused()) } else { Ok(7) } };
    let found =
        cache.get_or_load_many(&[1], move |_| async move { load().await.map(|n| vec![(1, n)]) }).await?;
    Ok(found[0].as_deref().copied().unwrap())
}

#[tokio::test]
async fn a_question_mark_is_enough() {
    assert_eq!(with_anyhow(&cache(), false).await.unwrap(), 7);
    assert_eq!(with_box(&cache(), false).await.unwrap(), 7);
    assert_eq!(with_a_local_box(&cache(), false).await.unwrap(), 7);
    let error = with_anyhow(&cache(), true).await.unwrap_err();
    assert_eq!(error.to_string(), "the loader failed: the database is away: refused", "with its causes");
    assert!(error.downcast_ref::<LoadError<anyhow::Error>>().unwrap().loader().unwrap().is::<io::Error>());
    assert_eq!(with_box(&cache(), true).await.unwrap_err().to_string(), "the loader failed: refused");
    assert_eq!(with_a_local_box(&cache(), true).await.unwrap_err().to_string(), "the loader failed: refused");
}

#[tokio::test]
async fn the_loaders_error_is_taken_out_or_changed() {
    let failed = |error: io::Error| LoadError::Loader(Arc::new(error));
    let inner = Arc::try_unwrap(failed(refused()).into_inner().unwrap()).unwrap();
    assert_eq!(inner.kind(), io::ErrorKind::ConnectionRefused);
    let mapped = failed(refused()).map(|error| error.kind());
    assert!(matches!(mapped, LoadError::Loader(kind) if *kind == io::ErrorKind::ConnectionRefused));
    assert!(matches!(LoadError::<io::Error>::Panicked.map(|_| 1), LoadError::Panicked));
    assert!(matches!(LoadError::<io::Error>::Panicked.into_inner(), Err(LoadError::Panicked)));
    let boxed: LoadError<Boxed> =
        LoadError::Loader(Arc::new(anyhow::Error::from(refused()).context("away").into_boxed_dyn_error()));
    assert_eq!(boxed.source().unwrap().to_string(), "refused");
}

#[tokio::test]
async fn a_timeout_is_no_failure() {
    let (backend, clock) = manual();
    let cache: Cache<u32> = backend.stores().cache("n").hard_timeout(seconds(1)).build().unwrap();
    let slow = {
        let cache = cache.clone();
        tokio::spawn(
            async move { cache.get_or_load(1, std::future::pending::<Result<u32, Infallible>>).await },
        )
    };
    settle().await;
    clock.advance(seconds(1));
    assert!(slow.await.unwrap().unwrap_err().is_timeout());
    assert_eq!(*instant(&cache, 1, 1).await.unwrap().unwrap(), 1);
    let failed = cache.get_or_load(2, || async { Err::<u32, _>("down") }).await.unwrap_err();
    assert!(!failed.is_timeout() && failed.loader() == Some(&"down"));
}
