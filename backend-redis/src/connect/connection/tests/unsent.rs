//! What has not left the process is known not to be applied.

use tokio::io::duplex;

use super::*;
use crate::connect::connection::driver::MAX_UNWRITTEN;
use crate::connect::connection::late::{Late, within};

#[test]
fn what_was_packed_and_not_written_is_not_applied() {
    run(async {
        // The first of them is written in part, and nobody reads it.
        let (ours, its) = duplex(64);
        let connection = connect_plainly(ours);
        let command = set(100);
        let sent = (0..100).map(|_| connection.command(&command, Access::Write));
        let hanging_up = async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            drop(its);
        };
        let (outcomes, ()) = tokio::join!(join_all(sent), hanging_up);
        let errors: Vec<_> = outcomes.into_iter().map(|outcome| facts(&outcome.unwrap_err())).collect();
        assert_eq!(errors[0], (ErrorKind::Unavailable, Effect::Unknown));
        assert_eq!(errors[1..], vec![(ErrorKind::Unavailable, Effect::NotApplied); 99]);
    });
}

#[test]
fn what_is_written_to_its_end_is_in_doubt_and_what_follows_is_not() {
    run(async {
        let command = set(100);
        let (ours, its) = duplex(command.get_packed_command().len());
        let connection = connect_plainly(ours);
        let sent = (0..2).map(|_| connection.command(&command, Access::Write));
        let hanging_up = async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            drop(its);
        };
        let (outcomes, ()) = tokio::join!(join_all(sent), hanging_up);
        let effects: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap_err().effect()).collect();
        assert_eq!(effects, [Effect::Unknown, Effect::NotApplied]);
    });
}

#[test]
fn a_caller_whose_commands_wait_at_its_deadline_knows_that_they_are_not_sent() {
    run(async {
        let (ours, mut its) = duplex(64);
        let connection = connect_plainly(ours);
        // No more is added to it.
        let large = set(2 * MAX_UNWRITTEN);
        let small = redis::cmd("INCRBY");
        let both = async {
            tokio::join!(
                within(Duration::from_millis(20), || connection.command(&large, Access::Write)),
                within(Duration::from_millis(10), || connection.command(&small, Access::Write)),
            )
        };
        let (sent, unsent) = both.await;
        assert_eq!(sent.unwrap_err(), Late { sent: true, not_run: false });
        assert_eq!(unsent.unwrap_err(), Late { sent: false, not_run: false });
        // And they are not sent later.
        let server = async {
            let mut read = Vec::new();
            while !read.ends_with(b"TIME\r\n") {
                assert!(its.read_buf(&mut read).await.unwrap() > 0);
            }
            its.write_all(b"+OK\r\n+OK\r\n").await.unwrap();
            read
        };
        let time = redis::cmd("TIME");
        let (reply, read) = tokio::join!(connection.command(&time, Access::Read), server);
        assert_eq!(reply.unwrap(), Value::Okay);
        assert_eq!(read.len(), large.get_packed_command().len() + time.get_packed_command().len());
    });
}

#[test]
fn an_operation_of_which_a_part_was_answered_is_in_doubt() {
    run(async {
        let (ours, mut its) = duplex(64);
        let connection = connect_plainly(ours);
        let (first, large, last) = (redis::cmd("TIME"), set(2 * MAX_UNWRITTEN), redis::cmd("INCRBY"));
        let server = async {
            let mut read = vec![0; first.get_packed_command().len()];
            let _ = its.read_exact(&mut read).await.unwrap();
            its.write_all(b"+OK\r\n").await.unwrap();
            std::future::pending::<()>().await;
        };
        let operation = within(Duration::from_millis(20), || async {
            connection.command(&first, Access::Write).await.unwrap();
            // Nobody waits for it.
            let mut filling = Box::pin(connection.command(&large, Access::Write));
            assert!(futures_util::poll!(filling.as_mut()).is_pending());
            tokio::task::yield_now().await;
            std::mem::forget(filling);
            connection.command(&last, Access::Write).await
        });
        tokio::select! {
            late = operation => assert_eq!(late.unwrap_err(), Late { sent: true, not_run: false }),
            () = server => {}
        }
    });
}

/// Sends some of what it is given and then fails, within one write, as a stream with TLS does.
#[cfg(feature = "tls")]
struct Halfway;

#[cfg(feature = "tls")]
impl AsyncRead for Halfway {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

#[cfg(feature = "tls")]
impl AsyncWrite for Halfway {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[cfg(feature = "tls")]
#[test]
fn what_a_failed_write_with_tls_was_given_is_in_doubt_and_what_follows_is_not() {
    use crate::connect::connection::records::Records;

    run(async {
        // The flush says it of the one, and the next write of the other.
        for lengths in [&[100_usize][..], &[100, 4_000, 16_000, 100]] {
            let connection = connect_plainly(Records::new(Halfway));
            let commands: Vec<_> = lengths.iter().map(|bytes| set(*bytes)).collect();
            let sent = commands.iter().map(|command| connection.command(command, Access::Write));
            let errors: Vec<_> =
                join_all(sent).await.into_iter().map(|outcome| facts(&outcome.unwrap_err())).collect();
            let effects: Vec<_> = errors.iter().map(|(_, effect)| *effect).collect();
            let expected = [Effect::Unknown, Effect::Unknown, Effect::Unknown, Effect::NotApplied];
            assert_eq!(effects, expected[..lengths.len()]);
            assert!(errors.iter().all(|(kind, _)| *kind == ErrorKind::Unavailable), "{errors:?}");
        }
    });
}
