//! Waiting for as long as something comes.

use std::time::Duration;

use stanchion::Result;

use super::connection::{Connection, within_while};
use crate::error::{self, Access};

/// The work, unless nothing at all is read on its connection for so long: how large replies are is not known before, and those
/// in front of them on the connection may be large too.
pub(super) async fn while_it_comes<T, F: Future<Output = Result<T>>>(
    connection: &Connection,
    silence: Duration,
    access: Access,
    work: impl FnOnce() -> F,
) -> Result<T> {
    let mut progress = connection.progress();
    let comes = || {
        let now = connection.progress();
        std::mem::replace(&mut progress, now) != now
    };
    match within_while(silence, comes, work).await {
        Ok(outcome) => outcome,
        Err(late) => Err(error::late(silence, access, late.sent, late.not_run)),
    }
}
