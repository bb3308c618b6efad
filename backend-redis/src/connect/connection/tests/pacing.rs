//! When the task writes, and how much it delivers before it lets others run.

use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc as threads;

use stanchion::clock::SystemClock;
use stanchion::time::{Monotonic, Timestamp};
use tokio::io::duplex;

use super::*;
use crate::connect::connection::driver::MAX_READS_IN_FLIGHT;
use crate::connect::connection::gathering::MGET_MAX;

/// Longer than others may run between two polls of the task.
const LATE: Duration = Duration::from_millis(1);

#[test]
fn requests_that_follow_a_share_are_written_together() {
    const ROUNDS: usize = 4;
    one_thread().block_on(async {
        let (ours, its) = duplex(64 * 1_024);
        let (connection, writes) = connect(ours);
        let server = tokio::spawn(serve(its, ROUNDS, CALLERS));
        assert_eq!(request_all(&connection, CALLERS, ROUNDS).await, [ROUNDS; CALLERS]);
        server.await.unwrap();
        let writes = writes.lock().unwrap();
        // Of 61 that are waited for a sixteenth are three; behind the last ones nothing is left to be delivered.
        let round = [vec![3; 21], vec![1]].concat();
        assert_eq!(*writes, [vec![CALLERS], round.repeat(ROUNDS - 1)].concat());
    });
}

#[test]
fn replies_that_have_come_are_delivered_although_the_server_has_gone_and_the_next_write_fails() {
    one_thread().block_on(async {
        let (ours, its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let server = tokio::spawn(serve(its, 1, CALLERS));
        assert_eq!(request_all(&connection, CALLERS, 2).await, [1; CALLERS]);
        server.await.unwrap();
    });
}

#[test]
fn a_caller_that_does_not_let_go_of_its_thread_holds_up_nobody_else() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (ours, its) = duplex(64 * 1_024);
    let (connection, _writes) = runtime.block_on(async { connect(ours) });
    drop(runtime.spawn(serve(its, 1, CALLERS)));
    let (replied, others) = threads::channel();
    let first = Arc::new(Mutex::new(Some(others)));
    let (done, all) = threads::channel();
    for _ in 0..CALLERS {
        let (connection, replied, done, first) =
            (connection.clone(), replied.clone(), done.clone(), Arc::clone(&first));
        drop(runtime.spawn(async move {
            let answered = request(&connection).await;
            let others = first.lock().unwrap().take();
            let held_up = match others {
                None => replied.send(()).is_err(),
                // One of its two threads is taken until all others are answered.
                Some(others) => (1..CALLERS).any(|_| others.recv_timeout(LONG_WAIT).is_err()),
            };
            done.send(answered && !held_up).unwrap();
        }));
    }
    assert!((0..CALLERS).all(|_| all.recv_timeout(2 * LONG_WAIT).unwrap()));
    runtime.shutdown_background();
}

/// Counts how often it is read, which is once whenever the task yields.
#[derive(Debug, Default)]
struct Watched(AtomicUsize);

#[async_trait::async_trait]
impl Clock for Watched {
    fn now(&self) -> Monotonic {
        let _ = self.0.fetch_add(1, Ordering::Relaxed);
        SystemClock.now()
    }

    fn wall(&self) -> Timestamp {
        SystemClock.wall()
    }

    async fn sleep_until(&self, deadline: Monotonic) {
        SystemClock.sleep_until(deadline).await;
    }
}

#[test]
fn a_lone_reply_is_delivered_at_once() {
    one_thread().block_on(async {
        let (ours, its) = duplex(64 * 1_024);
        let clock = Arc::new(Watched::default());
        let (connection, writes) = connect_by(ours, Arc::clone(&clock) as Arc<dyn Clock>, None);
        drop(tokio::spawn(serve(its, 50, 1)));
        assert_eq!(request_all(&connection, 1, 50).await, [50]);
        assert_eq!(*writes.lock().unwrap(), [1; 50]);
        assert_eq!(clock.0.load(Ordering::Relaxed), 0, "the task has yielded");
    });
}

/// A task that is always ready, and takes its time.
async fn busy(clock: Arc<ManualClock>) {
    poll_fn::<(), _>(|cx| {
        clock.advance(LATE);
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[test]
fn where_the_task_runs_late_all_is_delivered() {
    const ROUNDS: usize = 16;
    one_thread().block_on(async {
        let (ours, its) = duplex(64 * 1_024);
        let clock = Arc::new(ManualClock::new());
        let (connection, writes) = connect_by(ours, Arc::clone(&clock) as Arc<dyn Clock>, None);
        drop(tokio::spawn(serve(its, ROUNDS, CALLERS)));
        drop(tokio::spawn(busy(clock)));
        assert_eq!(request_all(&connection, CALLERS, ROUNDS).await, [ROUNDS; CALLERS]);
        let writes = writes.lock().unwrap();
        assert_eq!(writes.iter().filter(|requests| **requests == 3).count(), 1, "{writes:?}");
    });
}

#[test]
fn more_than_may_be_in_flight_all_have_replies() {
    one_thread().block_on(async {
        let (ours, its) = duplex(1024 * 1_024);
        let clock = Arc::new(ManualClock::new());
        let (connection, _writes) = connect_by(ours, Arc::clone(&clock) as Arc<dyn Clock>, None);
        drop(tokio::spawn(busy(clock)));
        let mut its = its;
        let (first, left) = (MAX_READS_IN_FLIGHT, 10);
        let server = tokio::spawn(async move {
            // The task runs late from here on.
            let mut read = Vec::new();
            while requests(&read) < CALLERS {
                assert!(its.read_buf(&mut read).await.unwrap() > 0);
            }
            its.write_all(&REPLY.repeat(CALLERS)).await.unwrap();
            for keys in [first, left] {
                read_requests(&mut its, keys).await;
                let mut replies = Vec::new();
                for chunk in vec![0; keys].chunks(MGET_MAX) {
                    replies.extend(format!("*{}\r\n", chunk.len()).into_bytes());
                    replies.extend(b"$1\r\na\r\n".repeat(chunk.len()));
                }
                its.write_all(&replies).await.unwrap();
            }
            its
        });
        assert_eq!(request_all(&connection, CALLERS, 1).await, [1; CALLERS]);
        let keys: Vec<_> = (0..first + left).map(key).collect();
        let answers = join_all(keys.iter().map(|key| connection.get(key, LONG_WAIT))).await;
        assert!(answers.into_iter().all(|answer| answer.unwrap().unwrap() == "a"));
        drop(server.await.unwrap());
    });
}
