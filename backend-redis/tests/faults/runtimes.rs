//! A backend that is used in another runtime than the one in which it was connected, as by tests that share one.

use std::time::Duration;

use stanchion::environment::Health;
use stanchion::stores::Stores;
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::RedisProcess;
use tokio::runtime::{Builder, Runtime};

use crate::operations::ALL;
use crate::support::{becomes, cluster_config, config, connect, failed, key};

fn one_thread() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

/// Connects on a runtime of its own, which is then ended, or left alone.
async fn connected_elsewhere(
    config: stanchion_redis::RedisConfig,
    runtime: Runtime,
    ends: bool,
) -> (Stores, Option<Runtime>) {
    let connected = tokio::task::spawn_blocking(move || {
        let stores = runtime.block_on(async {
            let stores = connect(config).await;
            let _ = stores.cache_store().unwrap().get(&key("a")).await.unwrap();
            if ends {
                let _ = stores.event_bus().unwrap().subscribe(subscription()).await.unwrap();
            }
            stores
        });
        (stores, if ends { None } else { Some(runtime) })
    });
    connected.await.unwrap()
}

fn subscription() -> stanchion::event::SubscribeOptions {
    stanchion::event::SubscribeOptions::new(stanchion::key::Name::new("user").unwrap())
}

async fn says_that_it_has_ended(stores: &Stores) {
    becomes(stores, Health::Down).await;
    // Renewals have a thread of their own, which lives.
    for operation in ALL.iter().filter(|operation| operation.name != "lock.renew") {
        let error = failed((operation.run)(stores).await);
        assert_eq!(error.kind(), ErrorKind::Config, "{}: {error}", operation.name);
        assert_eq!(error.effect(), Effect::NotApplied, "{}: {error}", operation.name);
        assert!(error.to_string().contains("runtime"), "{}: {error}", operation.name);
    }
    let lock = failed(stores.locks().unwrap().acquire("job").await.map(drop));
    assert_eq!(lock.kind(), ErrorKind::Config, "{lock}");
    let cache = failed(stores.cache::<u32>("n").build().map(drop));
    assert_eq!(cache.kind(), ErrorKind::Config, "{cache}");
}

pub(crate) async fn a_backend_whose_runtime_has_ended_says_so() {
    let server = RedisProcess::start().await.unwrap();
    let many_threads = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    for runtime in [one_thread(), many_threads] {
        let (stores, _) = connected_elsewhere(config(&server.url()), runtime, true).await;
        says_that_it_has_ended(&stores).await;
    }
}

pub(crate) async fn a_cluster_whose_runtime_has_ended_says_so() {
    let cluster = stanchion_conformance::servers::Cluster::start().await.unwrap();
    let (stores, _) = connected_elsewhere(cluster_config(&cluster.urls()), one_thread(), true).await;
    says_that_it_has_ended(&stores).await;
}

pub(crate) async fn where_the_runtime_is_not_driven_calls_end_and_say_so() {
    const DEADLINE: Duration = Duration::from_millis(100);
    let server = RedisProcess::start().await.unwrap();
    let settings = config(&server.url()).deadline(DEADLINE).cache_deadline(DEADLINE);
    let (stores, idle) = connected_elsewhere(settings, one_thread(), false).await;
    let calls = async {
        for operation in ALL.iter().filter(|operation| operation.name != "lock.renew") {
            let error = failed((operation.run)(&stores).await);
            assert_eq!(error.kind(), ErrorKind::Timeout, "{}: {error}", operation.name);
            assert_eq!(error.effect(), Effect::NotApplied, "{}: {error}", operation.name);
            // That is to connect first.
            if operation.name != "event.subscribe" {
                assert!(error.to_string().contains("is not driven"), "{}: {error}", operation.name);
            }
        }
    };
    tokio::time::timeout(Duration::from_mins(1), calls).await.expect("each ends by its deadline");
    idle.unwrap().shutdown_background();
}
