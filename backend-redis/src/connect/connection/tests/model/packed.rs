//! What the driver has packed: whose it is, and whether it may be sent.

use super::requests::{self, Asked};
use super::world::World;
use crate::connect::connection::gathering::MGET_MAX;

impl World {
    pub(super) fn look_at_what_is_packed(&mut self) -> Result<(), String> {
        let of = |caller: usize| move |why: &str| format!("caller {caller}: {why}");
        let log = self.log.clone();
        let log = log.lock();
        if let Some(wrong) = log.wrong {
            return Err(wrong.to_owned());
        }
        while self.looked_at < log.offered.len() {
            let begins = self.looked_at;
            let rest = &log.offered[begins..];
            let first = requests::first(rest)?;
            let (asked, length) = first.ok_or_else(|| "half a request is to be written".to_owned())?;
            self.looked_at += match asked {
                Asked::Command { caller, .. } | Asked::Channels { caller, .. } => {
                    self.is_packed(caller, begins).map_err(of(caller))?;
                    let packed = self.callers[caller].packed();
                    if !rest.starts_with(packed) {
                        return Err(format!("caller {caller}: its commands are not sent as they are"));
                    }
                    packed.len()
                }
                Asked::Get(caller) => {
                    self.read_is_packed(caller, begins, log.read).map_err(of(caller))?;
                    length
                }
                Asked::Mget(callers) => {
                    if callers.len() > MGET_MAX || self.context.cluster {
                        return Err(format!("an MGET of {} keys", callers.len()));
                    }
                    for caller in callers {
                        self.read_is_packed(caller, begins, log.read).map_err(of(caller))?;
                    }
                    length
                }
            };
        }
        Ok(())
    }

    /// The request of a caller is to be written, and begins here.
    fn is_packed(&mut self, at: usize, begins: usize) -> Result<(), &'static str> {
        let last = self.last_command.replace(at);
        let caller = self.callers.get_mut(at).ok_or("there is none")?;
        if caller.packed_at.replace(begins).is_some() {
            return Err("its commands are sent twice");
        }
        if !caller.waits() {
            return Err("its commands are sent although it does not wait any more");
        }
        if last.is_some_and(|last| last > at) {
            return Err("its commands are sent behind those of a later one");
        }
        Ok(())
    }

    fn read_is_packed(&mut self, at: usize, begins: usize, read: usize) -> Result<(), &'static str> {
        let last = self.last_read;
        let caller = self.callers.get_mut(at).ok_or("there is none")?;
        // It may have left between the reply and the write of what was packed after that.
        let was_there = caller.asks_again.is_some_and(|end| end <= caller.read_when_over);
        if !caller.waits() && !was_there {
            return Err("its key is read although it does not wait any more");
        }
        if caller.packed_at.is_some() {
            // Only after a reply that says nothing of this key.
            let again = caller.asks_again.take().is_some_and(|end| end <= read);
            let _ = self.reached.insert("a key is read again");
            return if again { Ok(()) } else { Err("its key is read twice") };
        }
        caller.packed_at = Some(begins);
        self.last_read = Some(at);
        if last.is_some_and(|last| last > at) {
            return Err("its key is read behind that of a later one");
        }
        Ok(())
    }
}
