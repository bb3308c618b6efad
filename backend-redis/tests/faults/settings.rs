//! Settings that would do harm in silence: a user without a password, and times and sizes out of bounds.

use std::sync::Arc;
use std::time::Duration;

use stanchion::ErrorKind;
use stanchion::cache::AllParts as _;
use stanchion::event::SubscribeOptions;
use stanchion::key::{Name, Namespace};
use stanchion_conformance::servers::{RedisProcess, Scripted};
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::support::{Restored, config, connect, refused, send, soon};

/// This field of all connections to the server but the one that asks.
async fn clients(server: &RedisProcess, field: &str) -> Vec<String> {
    let clients = send(server, &["CLIENT", "LIST"]).await.text();
    // Before 7.0 the command is `client` alone, and others than the one that asks have a name.
    let asks = |line: &str| {
        line.contains("cmd=client|list") || (line.contains(" cmd=client ") && line.contains(" name= "))
    };
    let others = clients.lines().filter(|line| !asks(line));
    let begins = format!(" {field}=");
    let value = |line: &str| Some(line.split(&begins).nth(1)?.split(' ').next()?.to_owned());
    let mut values: Vec<_> = others.filter_map(value).collect();
    values.sort();
    values
}

pub(crate) async fn a_user_without_a_password_is_that_user_or_refused() {
    let server = RedisProcess::start().await.unwrap();
    for name in ["svc@", "svc:@"] {
        let url = server.url().replace("redis://", &format!("redis://{name}"));
        send(&server, &["ACL", "SETUSER", "svc", "reset", "on", "nopass", "~*", "&*", "+@all"]).await;
        let stores = connect(config(&url)).await;
        assert_eq!(clients(&server, "user").await, ["svc"], "{name}");
        stores.close(Duration::from_secs(5)).await.unwrap();
        send(&server, &["ACL", "SETUSER", "svc", "resetpass", ">sesame"]).await;
        let error = refused(config(&url)).await;
        assert_eq!(error.kind(), ErrorKind::Denied, "{name}: {error}");
    }
}

pub(crate) async fn what_is_out_of_bounds_is_refused_before_anything_is_opened() {
    let config = || config("redis://127.0.0.1:1");
    let (zero, most) = (Duration::ZERO, Duration::MAX);
    let cluster = RedisConfig::cluster(["redis://127.0.0.1:1"]).unwrap();
    for (setting, config) in [
        ("deadline", config().deadline(zero)),
        ("deadline", config().deadline(most)),
        ("deadline", cluster.deadline(most)),
        ("cache_deadline", config().cache_deadline(zero)),
        ("cache_deadline", config().cache_deadline(most)),
        ("ping_every", config().ping_every(zero)),
        ("ping_every", config().ping_every(most)),
        ("connect_attempts", config().connect_attempts(0)),
        ("connect_attempts", config().connect_attempts(u32::MAX)),
        ("max_value_bytes", config().max_value_bytes(0)),
        ("max_value_bytes", config().max_value_bytes(usize::MAX)),
        ("max_batch", config().max_batch(0)),
        ("max_batch", config().max_batch(usize::MAX)),
    ] {
        let Err(error) = RedisBackend::connect(config).await else { panic!("{setting} is taken") };
        assert_eq!(error.kind(), ErrorKind::Config, "{setting}: {error}");
        assert!(error.to_string().contains(&format!("`{setting}`")), "{error}");
    }
}

/// A server that does not know the library's own field refuses it without harm.
pub(crate) async fn connections_are_named_by_what_they_are_for() {
    let server = RedisProcess::start().await.unwrap();
    let stores = connect(config(&server.url()).client_name("orders").unwrap()).await;
    let restored = Arc::new(Restored::default());
    let namespace = Namespace::new("cache", "fault").unwrap();
    let _watch = stores.cache_store().unwrap().watch(&namespace, restored.clone()).unwrap();
    let topic = SubscribeOptions::new(Name::new("user").unwrap());
    let _events = stores.event_bus().unwrap().subscribe(topic).await.unwrap();
    soon("the feed is up", || restored.times() == 1).await;
    let wanted = ["commands", "invalidations", "subscriptions"];
    assert_eq!(clients(&server, "name").await, wanted.map(|purpose| format!("stanchion:orders:{purpose}")));
    let names = clients(&server, "lib-name").await;
    assert!(names.iter().all(|name| name == "stanchion") && [0, 3].contains(&names.len()), "{names:?}");
}

/// It costs no round trip: it is sent before there is a reply to anything.
pub(crate) async fn the_library_is_said_without_waiting() {
    let server = Scripted::answering(b"_\r\n").await.unwrap();
    server.answer("HELLO", b"");
    server.answer("SETINFO", b"");
    let deadline = Duration::from_millis(200);
    let error = refused(config(&server.url()).deadline(deadline).connect_attempts(1)).await;
    assert_eq!(error.kind(), ErrorKind::Timeout, "{error}");
    assert_eq!((server.requests("HELLO"), server.requests("SETINFO")), (1, 2));
    // A refusal of it is passed over.
    server.forget("HELLO");
    server.answer("SETINFO", b"-NOPERM this user has no permissions to run the 'client|setinfo' command\r\n");
    connect(config(&server.url())).await;
}
