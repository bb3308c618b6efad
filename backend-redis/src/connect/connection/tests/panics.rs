//! A task that panics is noticed at once, and nobody waits for it.

use std::sync::atomic::{AtomicUsize, Ordering};

use redis::PushInfo;

use super::*;

/// Takes what is written, and panics when it is read.
struct Panics;

impl AsyncRead for Panics {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        panic!("as the test has it");
    }
}

impl AsyncWrite for Panics {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Counts how often a connection breaks.
#[derive(Default)]
struct Broken(AtomicUsize);

impl ConnectionEvents for Broken {
    fn pushed(&self, _: PushInfo) {}

    fn broken(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn a_panic_of_the_task_is_everybodys_error_and_the_connection_is_given_up() {
    run(async {
        let (clock, broken) = (Arc::new(ManualClock::new()), Arc::new(Broken::default()));
        let context = context_with(clock, LONG_WAIT);
        let connection = connect_on(Panics, Some(Arc::clone(&broken) as _), &context);
        let (write, key) = (set(1), key(0));
        let (written, time, read) = tokio::join!(
            connection.command(&write, Access::Write),
            connection.command(&write, Access::Read),
            connection.get(&key, LONG_WAIT),
        );
        let written = written.unwrap_err();
        assert_eq!(facts(&written), (ErrorKind::Internal, Effect::Unknown));
        assert!(written.to_string().contains("the task that drives the connection has ended unexpectedly"));
        assert_eq!(facts(&time.unwrap_err()), (ErrorKind::Internal, Effect::NotApplied));
        assert_eq!(facts(&read.unwrap_err()), (ErrorKind::Internal, Effect::NotApplied));
        assert_eq!(broken.0.load(Ordering::Relaxed), 1);
        // The next one finds no connection, and waits for another one.
        let later = connection.command(&write, Access::Write).await.unwrap_err();
        assert!(later.kind() != ErrorKind::Closed && later.effect() == Effect::NotApplied, "{later}");
        let later = connection.get(&key, LONG_WAIT).await.unwrap_err();
        assert!(later.kind() != ErrorKind::Closed, "{later}");
    });
}
