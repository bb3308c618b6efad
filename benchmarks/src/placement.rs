//! Which cores do what.

#[cfg(target_os = "linux")]
use std::fs;

#[cfg(target_os = "linux")]
use rustix::thread::{CpuSet, Pid, sched_getaffinity, sched_setaffinity};

use crate::Failure;

/// The server has a core of its own, and all threads of this process have the others, until this is dropped: as if they were
/// on two machines. Otherwise the kernel now and then puts both on one core, where they stay for a round or longer.
#[cfg(target_os = "linux")]
pub(crate) struct Apart {
    server: Pid,
    before: CpuSet,
}

#[cfg(target_os = "linux")]
impl Apart {
    /// Where there are two cores.
    pub(crate) fn from(server: u32) -> Result<Self, Failure> {
        let server = i32::try_from(server).ok().and_then(Pid::from_raw).ok_or("that is no process")?;
        let before = sched_getaffinity(None)?;
        let mut allowed = (0..CpuSet::MAX_CPU).filter(|core| before.is_set(*core));
        let (mut its, mut ours) = (CpuSet::new(), CpuSet::new());
        its.set(allowed.next().ok_or("there is no core")?);
        allowed.for_each(|core| ours.set(core));
        if ours.count() == 0 {
            return Err("client and server can't be kept apart: there is one core".into());
        }
        sched_setaffinity(Some(server), &its)?;
        let apart = Self { server, before };
        all_threads(&ours)?;
        Ok(apart)
    }
}

#[cfg(target_os = "linux")]
impl Drop for Apart {
    fn drop(&mut self) {
        // If it fails, what is measured next is measured on fewer cores, and all of it alike.
        let _ = sched_setaffinity(Some(self.server), &self.before);
        let _ = all_threads(&self.before);
    }
}

#[cfg(target_os = "linux")]
fn all_threads(cores: &CpuSet) -> Result<(), Failure> {
    for thread in fs::read_dir("/proc/self/task")? {
        let thread = thread?.file_name().to_str().and_then(|name| name.parse().ok());
        sched_setaffinity(thread.and_then(Pid::from_raw), cores)?;
    }
    Ok(())
}

/// Nothing is kept apart.
#[cfg(not(target_os = "linux"))]
pub(crate) struct Apart;

#[cfg(not(target_os = "linux"))]
impl Apart {
    pub(crate) fn from(_server: u32) -> Result<Self, Failure> {
        Err("client and server can be kept apart on Linux only".into())
    }
}
