//! Held locks while the server is away.

use std::time::Duration;

use stanchion::environment::Health;
use stanchion::lock::LockState;
use stanchion_conformance::servers::{Proxy, RedisProcess};

use crate::operations::lock_key;
use crate::support::{TIMEOUT, becomes, config, connect, soon};

/// Two thirds of it are left when it is renewed: no outage here takes so long, on a busy machine neither.
const LEASE: Duration = Duration::from_secs(12);

pub(crate) async fn a_short_outage_keeps_the_lock_and_a_long_one_loses_it() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let (stores, other) = (connect(config(&proxy.url())).await, connect(config(&server.url())).await);
    let guard = stores.locks().unwrap().acquire("job").lease(LEASE).await.unwrap();
    for _ in 0..2 {
        proxy.refuse().await;
        proxy.cut();
        becomes(&stores, Health::Down).await;
        proxy.accept().await;
        becomes(&stores, Health::Up).await;
        proxy.forget_requests();
        soon("it is renewed again", || proxy.requests(":l:job") > 0).await;
    }
    assert_eq!(guard.state(), LockState::Held);
    let (fence, _) = other.locker().unwrap().inspect(&lock_key()).await.unwrap().unwrap();
    assert_eq!(fence, guard.fence());

    let waiting = tokio::spawn(other.locks().unwrap().acquire("job").wait(TIMEOUT).into_future());
    proxy.refuse().await;
    proxy.cut();
    let next = waiting.await.unwrap().unwrap();
    // The holder's lease runs from before the request, the server's from after: it ends first, and a task notices.
    assert!(tokio::time::timeout(TIMEOUT, guard.lost()).await.is_ok(), "{guard:?}");
    assert_eq!(guard.state(), LockState::Lost);
    assert!(next.fence() > guard.fence());
    assert_eq!(guard.run(std::future::pending::<()>()).await, None);
    // Releasing what is lost harms nobody.
    proxy.accept().await;
    becomes(&stores, Health::Up).await;
    drop(guard);
    assert_eq!(next.state(), LockState::Held);
    let (fence, _) = other.locker().unwrap().inspect(&lock_key()).await.unwrap().unwrap();
    assert_eq!(fence, next.fence());
}

pub(crate) async fn a_lost_reply_to_a_renewal_keeps_the_lock() {
    let server = RedisProcess::start().await.unwrap();
    let proxy = Proxy::start(server.addr()).await.unwrap();
    let stores = connect(config(&proxy.url())).await;
    let guard = stores.locks().unwrap().acquire("job").lease(LEASE).await.unwrap();
    for lost in 1..=2 {
        proxy.drop_next_reply_to(":l:job");
        soon("the reply to a renewal is lost", || proxy.dropped_replies() == lost).await;
        proxy.forget_requests();
        soon("it is renewed again", || proxy.requests(":l:job") > 0).await;
    }
    assert_eq!(guard.state(), LockState::Held);
    let renewed = proxy.requests(":l:job");
    soon("it goes on being renewed", || proxy.requests(":l:job") > renewed).await;
    assert_eq!(guard.state(), LockState::Held);
    guard.release().await.unwrap();
}
