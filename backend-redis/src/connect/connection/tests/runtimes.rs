//! A connection whose runtime has ended, or is not driven.

use redis::PushInfo;
use tokio::io::duplex;

use super::*;
use crate::connect::connection::late::{Late, within};

/// Notes that the connection has broken.
#[derive(Default)]
struct Broken(Mutex<bool>);

impl ConnectionEvents for Broken {
    fn pushed(&self, _: PushInfo) {}

    fn broken(&self) {
        *self.0.lock().unwrap() = true;
    }
}

fn many_threads() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

#[test]
fn when_the_runtime_has_ended_all_that_wait_know_it() {
    for other in [one_thread(), many_threads()] {
        let broken = Arc::new(Broken::default());
        let (ours, mut its) = duplex(64 * 1_024);
        let connection = other.block_on(async {
            let context = context_with(Arc::new(ManualClock::new()), LONG_WAIT);
            connect_on(ours, Some(Arc::clone(&broken) as _), &context)
        });
        let (write, key) = (set(1), key(0));
        run(async {
            let ending = async {
                // It is driven until the requests have been sent.
                let driving = tokio::task::spawn_blocking(move || {
                    other.block_on(async { its.read_u8().await.unwrap() });
                    drop(other);
                });
                driving.await.unwrap();
            };
            let (written, read, ()) = tokio::join!(
                connection.command(&write, Access::Write),
                connection.get(&key, LONG_WAIT),
                ending
            );
            let written = written.unwrap_err();
            assert_eq!(facts(&written), (ErrorKind::Config, Effect::Unknown));
            assert!(written.to_string().contains("has ended"), "{written}");
            assert_eq!(facts(&read.unwrap_err()), (ErrorKind::Config, Effect::NotApplied));
            assert!(*broken.0.lock().unwrap());
            let later = connection.command(&write, Access::Write).await.unwrap_err();
            assert_eq!(facts(&later), (ErrorKind::Config, Effect::NotApplied));
            let later = connection.get(&key, LONG_WAIT).await.unwrap_err();
            assert_eq!(facts(&later), (ErrorKind::Config, Effect::NotApplied));
        });
    }
}

#[test]
fn what_is_closed_before_its_runtime_ends_is_closed() {
    let other = one_thread();
    let (ours, mut its) = duplex(64 * 1_024);
    let connection = other.block_on(async {
        let context = context_with(Arc::new(ManualClock::new()), LONG_WAIT);
        connect_on(ours, None, &context)
    });
    let write = set(1);
    run(async {
        let mut writing = Box::pin(connection.command(&write, Access::Write));
        assert!(futures_util::poll!(writing.as_mut()).is_pending());
        let closed = connection.clone();
        let ending = move || {
            other.block_on(async { its.read_u8().await.unwrap() });
            // Nothing runs the task any more.
            closed.close();
            drop(other);
        };
        tokio::task::spawn_blocking(ending).await.unwrap();
        assert_eq!(facts(&writing.await.unwrap_err()), (ErrorKind::Closed, Effect::Unknown));
        let later = connection.command(&write, Access::Write).await.unwrap_err();
        assert_eq!(facts(&later), (ErrorKind::Closed, Effect::NotApplied));
    });
}

#[test]
fn where_the_runtime_is_not_driven_each_call_ends_by_its_deadline() {
    const DEADLINE: Duration = Duration::from_millis(50);
    let idle = one_thread();
    let (ours, _its) = duplex(64 * 1_024);
    let connection = idle.block_on(async {
        let context = context_with(Arc::new(ManualClock::new()), LONG_WAIT);
        connect_on(ours, None, &context)
    });
    run(async {
        let (write, key) = (set(1), key(0));
        let late = within(DEADLINE, || connection.command(&write, Access::Write)).await.unwrap_err();
        assert_eq!(late, Late { sent: false, not_run: true });
        let reading = tokio::time::timeout(LONG_WAIT, connection.get(&key, DEADLINE));
        let late = reading.await.expect("it ends by itself").unwrap_err();
        assert_eq!(facts(&late), (ErrorKind::Timeout, Effect::NotApplied));
        assert!(late.to_string().contains("is not driven"), "{late}");
    });
}
