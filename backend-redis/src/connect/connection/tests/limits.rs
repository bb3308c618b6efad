//! How many requests may wait, and which do not wait for which.

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::io::duplex;

use super::*;
use crate::connect::connection::driver::{MAX_READS_IN_FLIGHT, MAX_UNWRITTEN};
use crate::connect::connection::queued::{MAX_QUEUED, MAX_QUEUED_BYTES};

#[test]
fn reads_do_not_wait_for_commands() {
    run(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let (time, key) = (redis::cmd("TIME"), key(0));
        let commands = (0..=MAX_READS_IN_FLIGHT).map(|_| connection.command(&time, Access::Write));
        tokio::select! {
            _ = join_all(commands) => panic!("nobody answers them"),
            answer = connection.get(&key, LONG_WAIT) => panic!("{answer:?}"),
            () = read_requests(&mut its, 1) => {}
        }
    });
}

#[test]
fn requests_beyond_the_backlog_are_refused_and_not_sent() {
    const MANY_MORE: usize = MAX_QUEUED + MAX_READS_IN_FLIGHT + 1;
    run(async {
        // Nobody reads at the other end.
        let (ours, _its) = duplex(64);
        let (connection, _writes) = connect(ours);
        let key = key(0);
        let mut reads: FuturesUnordered<_> =
            (0..MANY_MORE).map(|_| connection.get(&key, LONG_WAIT)).collect();
        let refused = reads.next().await.unwrap().unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Throttled);

        let mut large = redis::cmd("SET");
        large.arg("key").arg(vec![b'x'; MAX_UNWRITTEN]);
        let small = redis::cmd("TIME");
        let commands = std::iter::once(&large).chain(std::iter::repeat_n(&small, MANY_MORE));
        let mut written: FuturesUnordered<_> =
            commands.map(|command| connection.command(command, Access::Write)).collect();
        let refused = written.next().await.unwrap().unwrap_err();
        assert_eq!((refused.kind(), refused.effect()), (ErrorKind::Throttled, Effect::NotApplied));
        drop(reads);
    });
}

#[test]
fn requests_are_bounded_by_their_bytes_too() {
    const MIB: usize = 1_024 * 1_024;
    const WAITING: usize = MAX_QUEUED_BYTES / MIB;
    run(async {
        // Nobody reads at the other end, and nothing is added to what is not written.
        let (ours, mut its) = duplex(MIB);
        let connection = connect_plainly(ours);
        let (first, large, small) = (set(MAX_UNWRITTEN + MIB), set(MIB), redis::cmd("TIME"));
        let mut first = Box::pin(connection.command(&first, Access::Write));
        assert!(futures_util::poll!(first.as_mut()).is_pending());
        tokio::task::yield_now().await;
        let mut waiting: FuturesUnordered<_> =
            (0..WAITING).map(|_| connection.command(&large, Access::Write)).collect();
        assert!(futures_util::poll!(waiting.next()).is_pending());
        let refused = connection.command(&small, Access::Write).await.unwrap_err();
        assert_eq!(facts(&refused), (ErrorKind::Throttled, Effect::NotApplied));
        assert!(refused.retry_after().is_some());
        // A caller that leaves makes room.
        drop(waiting);
        let mut all_the_room = Box::pin(connection.command(&large, Access::Write));
        assert!(futures_util::poll!(all_the_room.as_mut()).is_pending());
        // And what is written does.
        drop(all_the_room);
        let huge = set(2 * MAX_QUEUED_BYTES);
        let server = async {
            let mut read = 0;
            let length = 2 * MAX_QUEUED_BYTES + MAX_UNWRITTEN + MIB;
            let mut piece = vec![0; MIB];
            while read < length {
                read += its.read(&mut piece).await.unwrap();
            }
            its.write_all(b"+OK\r\n+OK\r\n").await.unwrap();
        };
        let (first, huge, ()) = tokio::join!(first, connection.command(&huge, Access::Write), server);
        assert_eq!((first.unwrap(), huge.unwrap()), (Value::Okay, Value::Okay));
    });
}

#[test]
fn callers_do_not_outrun_a_task_that_is_not_run() {
    run(async {
        let (ours, _its) = duplex(64);
        let context = context_with(Arc::new(ManualClock::new()), LONG_WAIT);
        let (connection, _driver) = Connection::driven_by_hand(ours, None, Purpose::Commands, &context);
        let (command, key) = (redis::cmd("TIME"), key(0));
        let more = MAX_QUEUED + 10;
        let mut commands: FuturesUnordered<_> =
            (0..more).map(|_| connection.command(&command, Access::Write)).collect();
        let mut reads: FuturesUnordered<_> = (0..more).map(|_| connection.get(&key, LONG_WAIT)).collect();
        for _ in 0..10 {
            let refused = commands.next().await.unwrap().unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Throttled);
            assert_eq!(reads.next().await.unwrap().unwrap_err().kind(), ErrorKind::Throttled);
        }
        assert!(futures_util::poll!(commands.next()).is_pending());
        assert!(futures_util::poll!(reads.next()).is_pending());
    });
}

#[test]
fn a_heartbeat_is_not_refused_where_too_much_waits() {
    run(async {
        let (ours, _its) = duplex(64);
        let context = context_with(Arc::new(ManualClock::new()), Duration::from_millis(5));
        let (connection, _driver) = Connection::driven_by_hand(ours, None, Purpose::Commands, &context);
        let large = set(MAX_QUEUED_BYTES);
        let mut waiting = Box::pin(connection.command(&large, Access::Write));
        assert!(futures_util::poll!(waiting.as_mut()).is_pending());
        let refused = connection.command(&redis::cmd("TIME"), Access::Read).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Throttled);
        assert_eq!(heartbeat(&connection, &context).await.unwrap_err().kind(), ErrorKind::Timeout);
    });
}

#[test]
fn callers_that_leave_do_not_fill_the_channel_of_a_task_that_is_not_run() {
    run(async {
        let (ours, _its) = duplex(64);
        let context = context_with(Arc::new(ManualClock::new()), LONG_WAIT);
        let (connection, mut driver) = Connection::driven_by_hand(ours, None, Purpose::Commands, &context);
        let command = redis::cmd("TIME");
        // Each leaves at once.
        let leaves = || connection.command(&command, Access::Write).now_or_never();
        for at in 0..MAX_QUEUED {
            assert!(leaves().is_none(), "{at}");
        }
        let refused = leaves().unwrap().unwrap_err();
        assert_eq!(facts(&refused), (ErrorKind::Throttled, Effect::NotApplied));
        // When it comes by it takes them all.
        let mut cx = Context::from_waker(std::task::Waker::noop());
        assert!(driver.run_once(&mut cx).is_pending());
        for _ in 0..MAX_QUEUED {
            assert!(leaves().is_none());
        }
    });
}
