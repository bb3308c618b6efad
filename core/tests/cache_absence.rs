//! How long it is remembered that there is no value.

mod support;

use std::convert::Infallible;

use stanchion::prelude::*;
use stanchion_memory::MokaNear;

use support::{Flaky, manual};

type Found = Result<Option<u32>, Infallible>;

async fn none() -> Found {
    Ok(None)
}

async fn row() -> Found {
    Ok(Some(7))
}

#[tokio::test]
async fn an_absence_is_not_served_for_longer_while_it_is_loaded_anew() {
    for wait in [seconds(5), minutes(9)] {
        let (backend, clock) = manual();
        let cache: Cache<u32> = backend
            .stores()
            .cache("n")
            .negative_ttl(seconds(5))
            .stale_while_revalidate(minutes(10))
            .build()
            .unwrap();
        assert_eq!(cache.get_or_find(1, none).await.unwrap(), None);
        clock.advance(seconds(1));
        assert_eq!(cache.get_or_find(1, row).await.unwrap(), None, "remembered");
        clock.advance(wait);
        assert_eq!(cache.get_or_find(1, row).await.unwrap().as_deref(), Some(&7), "after {wait:?}");
        // By many as by one.
        let many = |ids: Vec<u32>| async move {
            Ok::<_, Infallible>(ids.into_iter().map(|id| (id, Some(7))).collect::<Vec<_>>())
        };
        let none = |_: Vec<u32>| async { Ok::<_, Infallible>(Vec::<(u32, Option<u32>)>::new()) };
        assert_eq!(cache.get_or_find_many(&[2], none).await.unwrap(), [None]);
        clock.advance(seconds(1) + wait);
        assert_eq!(cache.get_or_find_many(&[2], many).await.unwrap()[0].as_deref(), Some(&7));
    }
}

#[tokio::test]
async fn an_absence_that_has_expired_is_no_last_resort() {
    for near in [false, true] {
        let (backend, clock) = manual();
        let flaky = Flaky::over(&backend.stores());
        let mut builder = flaky.cache(&clock).negative_ttl(seconds(5)).fail_safe(hours(24), seconds(30));
        if near {
            builder = builder.near(MokaNear::entries(10));
        }
        let cache = builder.build().unwrap();
        assert_eq!(cache.get_or_find(1, none).await.unwrap(), None);
        assert_eq!(cache.get(1).await.unwrap(), None);
        clock.advance(hours(23));
        if near {
            flaky.lose();
        }
        let failed = cache.get_or_find(1, || async { Err::<Option<u32>, _>("down") }).await;
        assert!(matches!(failed, Err(LoadError::Loader(error)) if *error == "down"), "near: {near}");
        let fails = |_: Vec<u32>| async { Err::<Vec<(u32, Option<u32>)>, _>("down") };
        let failed = cache.get_or_find_many(&[1], fails).await;
        assert!(matches!(failed, Err(LoadError::Loader(error)) if *error == "down"), "near: {near}");
    }
}
