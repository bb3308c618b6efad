//! Waiting for as long as something comes.

use std::time::Duration;

use stanchion::Result;

use super::connection::Connection;
use crate::error::{self, Access};

/// The work, unless nothing at all is read on its connection for so long: how large replies are is not known before, and those
/// in front of them on the connection may be large too.
pub(super) async fn while_it_comes<T>(
    connection: &Connection,
    silence: Duration,
    access: Access,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let mut work = std::pin::pin!(work);
    loop {
        let before = connection.progress();
        match tokio::time::timeout(silence, work.as_mut()).await {
            Ok(outcome) => return outcome,
            Err(_) if connection.progress() == before => return Err(error::timed_out(silence, access)),
            Err(_) => {}
        }
    }
}
