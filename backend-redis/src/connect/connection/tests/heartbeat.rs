//! Heartbeats: silence ends a connection, and nothing else does.

use stanchion::clock::SystemClock;
use tokio::io::duplex;

use super::*;

const DEADLINE: Duration = Duration::from_millis(500);

async fn pause(time: Duration) {
    let _ = tokio::time::timeout(time, std::future::pending::<()>()).await;
}

/// A connection whose heartbeats have this deadline, and the other end of it.
fn connect_here(capacity: usize, clock: &Arc<ManualClock>) -> (Connection, Arc<Shared>, DuplexStream) {
    let (ours, its) = duplex(capacity);
    let context = context_with(Arc::clone(clock) as Arc<dyn Clock>, DEADLINE);
    (connect_on(ours, None, &context), context, its)
}

async fn read_until(stream: &mut DuplexStream, text: &str) {
    let mut read = Vec::new();
    while !read.windows(text.len()).any(|window| window == text.as_bytes()) {
        assert!(stream.read_buf(&mut read).await.unwrap() > 0);
    }
}

/// Writes some byte at short intervals, for longer than two deadlines.
async fn trickle(its: &mut DuplexStream) {
    const PIECES: u32 = 60;
    for _ in 0..PIECES {
        its.write_all(b"x").await.unwrap();
        pause(DEADLINE * 5 / 2 / PIECES).await;
    }
}

#[test]
fn a_heartbeat_is_not_given_up_while_bytes_arrive() {
    run(async {
        let (connection, context, mut its) = connect_here(64 * 1_024, &Arc::default());
        let mut get = redis::cmd("GET");
        get.arg("key");
        let server = async {
            read_until(&mut its, "TIME").await;
            // The value for which the heartbeat has to wait.
            its.write_all(b"$60\r\n").await.unwrap();
            trickle(&mut its).await;
            its.write_all(b"\r\n+OK\r\n").await.unwrap();
        };
        let (found, reply, ()) =
            tokio::join!(connection.command(&get, Access::Read), heartbeat(&connection, &context), server);
        assert_eq!(found.unwrap(), Value::BulkString(vec![b'x'; 60]));
        assert_eq!(reply.unwrap(), Value::Okay);
    });
}

#[test]
fn silence_ends_it_after_a_deadline() {
    run(async {
        let (connection, context, mut its) = connect_here(64 * 1_024, &Arc::default());
        let began = SystemClock.now();
        let error = heartbeat(&connection, &context).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Timeout);
        assert!(SystemClock.now().saturating_since(began) >= DEADLINE);
        // What came before is no sign of life.
        let key = key(0);
        its.write_all(b"+OK\r\n$1\r\na\r\n").await.unwrap();
        connection.get(&key, LONG_WAIT).await.unwrap();
        let silent = tokio::time::timeout(DEADLINE * 19 / 10, heartbeat(&connection, &context)).await;
        assert_eq!(silent.unwrap().unwrap_err().kind(), ErrorKind::Timeout, "after one deadline, not two");
    });
}

#[test]
fn bytes_without_a_reply_end_it_at_last() {
    run(async {
        let clock = Arc::new(ManualClock::new());
        let (connection, context, mut its) = connect_here(64 * 1_024, &clock);
        let never = async {
            read_until(&mut its, "TIME").await;
            its.write_all(b"$1000000\r\n").await.unwrap();
            clock.advance(Duration::from_mins(9));
            trickle(&mut its).await;
            clock.advance(Duration::from_mins(1));
            loop {
                trickle(&mut its).await;
            }
        };
        tokio::select! {
            reply = heartbeat(&connection, &context) => {
                assert_eq!(reply.unwrap_err().kind(), ErrorKind::Timeout);
            }
            () = never => {}
        }
        assert_eq!(clock.now().since_origin(), Duration::from_mins(10), "not before");
    });
}

#[test]
fn a_heartbeat_behind_a_large_write_waits_for_it() {
    run(async {
        let (connection, context, mut its) = connect_here(64, &Arc::default());
        let large = set(2_000_000);
        let server = async {
            let mut read = Vec::new();
            while read.len() < 2_000_000 {
                let mut piece = vec![0; 64];
                let end = if read.len() < 3_000 { its.read(&mut piece).await.unwrap() } else { 0 };
                if end > 0 {
                    // Slowly, for longer than two deadlines.
                    pause(DEADLINE * 5 / 2 / 47).await;
                    read.extend_from_slice(&piece[..end]);
                } else {
                    let _ = its.read_buf(&mut read).await.unwrap();
                }
            }
            while !read.ends_with(b"TIME\r\n") {
                let _ = its.read_buf(&mut read).await.unwrap();
            }
            its.write_all(b"+OK\r\n+OK\r\n").await.unwrap();
        };
        let (written, reply, ()) =
            tokio::join!(connection.command(&large, Access::Write), heartbeat(&connection, &context), server);
        assert_eq!((written.unwrap(), reply.unwrap()), (Value::Okay, Value::Okay));
    });
}

#[test]
fn what_the_system_takes_for_a_server_that_is_gone_is_no_sign_of_life() {
    run(async {
        // As much room as a system has, and nobody at the other end.
        let (connection, context, _its) = connect_here(1_000_000, &Arc::default());
        let small = set(100);
        let writing = async {
            loop {
                let _ = tokio::time::timeout(DEADLINE / 20, connection.command(&small, Access::Write)).await;
            }
        };
        tokio::select! {
            reply = tokio::time::timeout(DEADLINE * 19 / 10, heartbeat(&connection, &context)) => {
                assert_eq!(reply.unwrap().unwrap_err().kind(), ErrorKind::Timeout);
            }
            () = writing => {}
        }
    });
}
