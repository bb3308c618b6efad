//! What a burst has taken is given back.

use std::future::poll_fn;
use std::pin::pin;

use tokio::io::duplex;

use super::*;
use crate::connect::connection::room::KEPT;

const BURST: usize = 60_000;

#[test]
fn a_burst_leaves_no_memory_behind() {
    run(async {
        let (ours, its) = duplex(64 * 1_024 * 1_024);
        let context = context_with(Arc::new(ManualClock::new()), LONG_WAIT);
        let (connection, mut driver) = Connection::driven_by_hand(ours, None, Purpose::Commands, &context);
        let command = redis::cmd("TIME");
        let requested = async {
            let all = join_all((0..BURST).map(|_| connection.command(&command, Access::Write)));
            all.await.into_iter().for_each(|reply| assert_eq!(reply.unwrap(), Value::Okay));
        };
        let mut most = [0; 5];
        let mut serving = pin!(serve_all(its));
        let mut requested = pin!(requested);
        poll_fn(|cx| {
            let requested = requested.as_mut().poll(cx);
            assert!(driver.run_once(cx).is_pending());
            assert!(serving.as_mut().poll(cx).is_pending());
            for (most, now) in most.iter_mut().zip(driver.capacities()) {
                *most = now.max(*most);
            }
            requested
        })
        .await;
        assert!(most[2] >= BURST, "there was a burst: {most:?}");
        let left = driver.capacities();
        let bounds = [KEPT, KEPT, KEPT, 128 * 1_024, 128 * 1_024];
        assert!(left.iter().zip(bounds).all(|(left, bound)| *left <= bound), "{left:?} of {most:?}");
    });
}

/// Replies to all of the burst when it has come.
async fn serve_all(mut its: DuplexStream) {
    let length = redis::cmd("TIME").get_packed_command().len() * BURST;
    let mut read = Vec::new();
    while read.len() < length {
        assert!(its.read_buf(&mut read).await.unwrap() > 0);
    }
    its.write_all(&b"+OK\r\n".repeat(BURST)).await.unwrap();
    std::future::pending::<()>().await;
}
