//! How a connection ends, and what is said to those who wait.

use tokio::io::duplex;

use super::*;

#[test]
fn a_request_behind_a_close_is_never_sent() {
    one_thread().block_on(async {
        let (ours, _its) = duplex(64);
        let (connection, _writes) = connect(ours);
        connection.close();
        // Both are there before the task is run.
        let error = connection.command(&redis::cmd("TIME"), Access::Write).await.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Closed, Effect::NotApplied));
    });
}

#[test]
fn a_reply_to_no_request_ends_the_connection() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let (answered, ()) =
            tokio::join!(request(&connection), async { its.write_all(&REPLY.repeat(2)).await.unwrap() });
        assert!(answered);
        // Otherwise it would be taken for this one's.
        assert!(!request(&connection).await);
    });
}

#[test]
fn what_a_server_sends_before_any_request_is_its_first_reply() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        its.write_all(b"-ERR max number of clients reached\r\n").await.unwrap();
        drop(its);
        for _ in 0..3 {
            tokio::task::yield_now().await;
        }
        let refused = connection.command(&redis::cmd("HELLO"), Access::Read).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::Throttled);
    });
}

#[test]
fn closing_ends_every_request() {
    one_thread().block_on(async {
        let (ours, mut its) = duplex(64 * 1_024);
        let (connection, _writes) = connect(ours);
        let keys: Vec<_> = (0..20).map(key).collect();
        let reads = join_all(keys.iter().map(|key| connection.get(key, LONG_WAIT)));
        let mut write = redis::cmd("SET");
        write.arg("k").arg("v");
        let closing = async {
            read_requests(&mut its, 20).await;
            connection.close();
        };
        let (answers, written, ()) = tokio::join!(reads, connection.command(&write, Access::Write), closing);
        assert!(answers.iter().all(|answer| answer.as_ref().unwrap_err().kind() == ErrorKind::Closed));
        let error = written.unwrap_err();
        assert_eq!((error.kind(), error.effect()), (ErrorKind::Closed, Effect::Unknown));
    });
}
