//! How the master is found, and what is said where it is not.

use std::time::Duration;

use stanchion::environment::Health;
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::{RedisProcess, Sentinel, SentinelSetup};
use stanchion_redis::{Credentials, RedisConfig};

use crate::service::Service;
use crate::support::{becomes, config, connect, named, refused};

/// Only one is in the settings, and it ends: the others were found through it.
pub(crate) async fn one_sentinel_leads_to_the_master_and_to_the_others() {
    let sentinel = Sentinel::start().await.unwrap();
    let url = format!("{}/{}", sentinel.urls()[2].replace("redis://", "redis+sentinel://"), sentinel.name());
    let service = Service::start(url.parse().unwrap()).await;
    service.is_served_by(&sentinel.nodes()[0]).await;
    sentinel.sentinels()[2].kill().unwrap();
    let killed = sentinel.kill_master().await.unwrap();
    let new = sentinel.replaced(killed).await.unwrap();
    service.goes_on().await;
    service.is_served_by(&sentinel.nodes()[new]).await;
}

pub(crate) async fn a_name_that_no_sentinel_knows_is_refused() {
    let sentinel = Sentinel::start().await.unwrap();
    let error = refused(named("other", &sentinel.urls())).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Config, Effect::NotApplied), "{error}");
    let text = error.to_string();
    assert!(text.contains("no master of the name `other`") && text.contains("1 attempt;"), "{text}");
    for one in sentinel.sentinels() {
        assert!(text.contains(&one.addr().to_string()), "{text}");
    }
}

pub(crate) async fn sentinels_that_are_away_are_each_named() {
    let sentinel = Sentinel::start().await.unwrap();
    for one in sentinel.sentinels() {
        one.kill().unwrap();
    }
    let error = refused(config(&sentinel).connect_attempts(2)).await;
    assert_eq!((error.kind(), error.effect()), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    let text = error.to_string();
    assert!(text.contains("`main`") && text.contains("2 attempts"), "{text}");
    for one in sentinel.sentinels() {
        assert!(text.contains(&format!("{}: unavailable: the connection was refused", one.addr())), "{text}");
    }
    // Once one is back, it is enough.
    sentinel.sentinels()[1].restart().await.unwrap();
    let stores = connect(config(&sentinel).connect_attempts(20)).await;
    becomes(&stores, Health::Up).await;
}

pub(crate) async fn a_server_is_no_sentinel() {
    let server = RedisProcess::start().await.unwrap();
    let error = refused(named("main", &[server.url()])).await;
    assert_eq!(error.kind(), ErrorKind::Config, "{error}");
    let says = format!("write redis://{}", server.addr());
    assert!(error.to_string().contains(&says) && error.to_string().contains("no sentinel"), "{error}");
}

pub(crate) async fn master_and_sentinels_have_passwords_of_their_own() {
    let setup = SentinelSetup::new().password("of-the-master").sentinel_password("of-the-sentinels");
    let sentinel = setup.start().await.unwrap();
    let config = |user: &str| {
        // Whatever the harness's own URLs say of a user.
        let hosts: Vec<_> = sentinel.sentinels().iter().map(|one| one.addr().to_string()).collect();
        let url = format!("redis+sentinel://{user}{}/{}", hosts.join(","), sentinel.name());
        let config: RedisConfig = url.parse().unwrap();
        config.deadline(Duration::from_secs(10)).cache_deadline(Duration::from_secs(10))
    };
    let right = || Credentials::password("of-the-sentinels");
    for (name, wrong) in [
        ("none", config(":of-the-master@")),
        ("wrong", config(":of-the-master@").sentinel_credentials(Credentials::password("of-the-master"))),
    ] {
        let error = refused(wrong).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{name}: {error}");
        assert!(error.to_string().contains("sentinel_credentials"), "{name}: {error}");
        assert!(!format!("{error} {error:?}").contains("of-the-master"), "{name}: {error:?}");
    }
    for wrong in [config(""), config(":of-the-sentinels@")] {
        let error = refused(wrong.sentinel_credentials(right())).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{error}");
        assert!(!error.to_string().contains("sentinel_credentials"), "{error}");
    }
    let config = config(":of-the-master@").sentinel_credentials(right());
    assert!(!format!("{config:?} {config}").contains("of-the"), "{config:?}");
    let service = Service::start(config).await;
    service.goes_on().await;
}
