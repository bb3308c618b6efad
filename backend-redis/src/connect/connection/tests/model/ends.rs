//! The end of a connection: its cause, and what had left and come by then.

use futures_util::FutureExt;
use redis::ErrorKind as ClientErrorKind;

use super::world::World;
use crate::connect::connection::end::End;

/// What may end the connection.
#[derive(Default)]
#[expect(clippy::struct_excessive_bools, reason = "one fact each")]
pub(super) struct Causes {
    pub(super) closed: bool,
    pub(super) broken: bool,
    /// What was on its way is lost.
    pub(super) reset: bool,
    pub(super) nonsense: bool,
    pub(super) panic: bool,
}

pub(super) struct Ended {
    pub(super) why: Why,
    /// So many bytes the stream had taken by then,
    pub(super) taken: usize,
    /// and of so many the server can know.
    pub(super) left: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Why {
    Unwanted,
    Closed,
    Broken,
    Nonsense,
    Panicked,
    Runtime,
}

impl World {
    pub(super) fn driver_ends(&mut self, end: &End) -> Result<(), String> {
        let (why, caused) = match end {
            End::Unwanted => (Why::Unwanted, self.connection.is_none()),
            End::Closed => (Why::Closed, self.causes.closed),
            End::Broken(failure) if failure.kind() == ClientErrorKind::Io => {
                (Why::Broken, self.causes.broken)
            }
            End::Broken(_) => (Why::Nonsense, self.causes.nonsense),
            End::Panicked => (Why::Panicked, self.causes.panic),
        };
        if !caused {
            return Err(format!("the connection has ended for no reason: {end:?}"));
        }
        self.has_ended(why)?;
        let driver = self.driver.take();
        let ending = driver.and_then(|mut driver| driver.end(end).now_or_never());
        ending.ok_or_else(|| "the driver waits at its end".to_owned())
    }

    /// Notes what has left, and holds the driver to having read what has come.
    pub(super) fn has_ended(&mut self, why: Why) -> Result<(), String> {
        self.server.receive(usize::MAX)?;
        let log = self.log.lock();
        let (taken, left, read) = (log.taken, self.server.received.len(), log.read);
        let in_part = log.last_begins < left && left < taken;
        drop(log);
        if left > taken {
            return Err(format!("{left} bytes have left, and {taken} were taken"));
        }
        self.check_received()?;
        if why == Why::Broken {
            self.has_broken(read, in_part)?;
        }
        self.ended = Some(Ended { why, taken, left });
        Ok(())
    }

    /// That a write fails says nothing of the replies that have come: whoever has one is not in doubt.
    fn has_broken(&mut self, read: usize, in_part: bool) -> Result<(), String> {
        let come = self.server.carried;
        if read < come && !self.causes.reset {
            return Err(format!("{come} bytes have come, of which the driver has read {read} at its end"));
        }
        if read > self.read_before && self.wire.fails_to_write() {
            let _ = self.reached.insert("broken, and replies had come");
        }
        if in_part {
            let _ = self.reached.insert("broken, part of a write has left");
        }
        Ok(())
    }
}
