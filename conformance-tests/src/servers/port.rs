//! Ports that no other test of this machine takes at the same time.

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Mutex;

use super::ServerError;

/// Below the range from which systems take ports for outgoing connections (Linux: from 32768), and so that the
/// Cluster bus port (10000 higher) is below it too.
const FIRST: u16 = 10_400;
const COUNT: u16 = 11_600;
const BUS: u16 = 10_000;

/// A free port on 127.0.0.1, kept for its owner: also while a killed server is not listening on it.
///
/// A lock file is what keeps it, so the claim ends with this process, however it ends.
#[derive(Debug)]
pub(super) struct Port {
    number: u16,
    _claim: Option<File>,
}

/// Numbers given out by this process, because a second lock of one process on one file may be granted.
static TAKEN: Mutex<Vec<u16>> = Mutex::new(Vec::new());

impl Port {
    /// A port that is free now, together with the one 10000 higher.
    pub(super) fn claim() -> Result<Self, ServerError> {
        let start = RandomState::new().hash_one(std::process::id());
        for step in 0..u64::from(COUNT) {
            let offset = start.wrapping_add(step) % u64::from(COUNT);
            let number = FIRST + u16::try_from(offset).unwrap_or_default();
            if let Some(port) = Self::try_claim(number) {
                return Ok(port);
            }
        }
        Err(ServerError::new(format!("no free port between {FIRST} and {}", FIRST + COUNT)))
    }

    fn try_claim(number: u16) -> Option<Self> {
        let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if taken.contains(&number) {
            return None;
        }
        let claim = match lock_file(number) {
            Ok(file) => match file.try_lock() {
                Ok(()) => Some(file),
                Err(fs::TryLockError::WouldBlock) => return None,
                Err(fs::TryLockError::Error(_)) => None,
            },
            // Another user's folder: what is left is that the port is free now.
            Err(_) => None,
        };
        let free = |number| TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
        if !free(number) || !free(number + BUS) {
            return None;
        }
        taken.push(number);
        Some(Self { number, _claim: claim })
    }

    pub(super) const fn number(&self) -> u16 {
        self.number
    }

    pub(super) const fn bus(&self) -> u16 {
        self.number + BUS
    }

    pub(super) fn addr(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.number))
    }
}

impl Drop for Port {
    fn drop(&mut self) {
        let mut taken = TAKEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        taken.retain(|number| *number != self.number);
    }
}

fn lock_file(number: u16) -> std::io::Result<File> {
    let folder = std::env::temp_dir().join("stanchion-ports");
    fs::create_dir_all(&folder)?;
    File::options().create(true).append(true).open(folder.join(number.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_claimed_port_is_not_given_out_again() {
        let port = Port::claim().unwrap();
        assert!(Port::try_claim(port.number()).is_none());
        let number = port.number();
        drop(port);
        assert!(Port::try_claim(number).is_some());
    }
}
