//! Invalidations that are published by the writes themselves.

use stanchion::ErrorKind;
use stanchion_conformance::servers::RedisProcess;
use stanchion_redis::{Invalidation, RedisBackend};

use crate::watched::{config, run, stored};
use crate::{broken, notified};

pub(crate) async fn every_write_of_the_store_is_notified() {
    let server = RedisProcess::start().await.unwrap();
    notified::writes_of_the_store(config(&server.url()).invalidation(Invalidation::Bus), &server).await;
}

pub(crate) async fn a_killed_connection_is_a_loss_until_it_is_back() {
    let server = RedisProcess::start().await.unwrap();
    broken::killed_connection(config(&server.url()).invalidation(Invalidation::Bus), &server).await;
}

pub(crate) async fn a_deployment_has_one_way() {
    let server = RedisProcess::start().await.unwrap();
    let of = |by| config(&server.url()).invalidation(by);
    for (first, second) in
        [(Invalidation::Bus, Invalidation::Tracking), (Invalidation::Tracking, Invalidation::Bus)]
    {
        run(&server, &["FLUSHALL"]).await;
        RedisBackend::connect(of(first)).await.unwrap();
        RedisBackend::connect(of(first)).await.unwrap();
        let error = RedisBackend::connect(of(second)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        let text = error.to_string();
        assert!(
            text.contains("\"bus\"") && text.contains("\"tracking\"") && text.contains("invalidation"),
            "{text}"
        );
    }
}

pub(crate) async fn a_record_without_the_field_means_tracking() {
    let server = RedisProcess::start().await.unwrap();
    RedisBackend::connect(config(&server.url())).await.unwrap();
    run(&server, &["HDEL", &stored("stanchion:meta"), "invalidation"]).await;
    RedisBackend::connect(config(&server.url())).await.unwrap();
    let bus = RedisBackend::connect(config(&server.url()).invalidation(Invalidation::Bus)).await;
    assert_eq!(bus.unwrap_err().kind(), ErrorKind::Config);
}
