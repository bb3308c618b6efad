//! Waiting for a condition, with a deadline. The only pause in this module.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use super::ServerError;

/// Asks `probe` until it answers `Ok`, every few milliseconds; after `limit` gives up with its last `Err`,
/// which says what is still missing.
///
/// # Cancel safety
/// Dropping the future stops the asking; a probe that is under way is dropped with it.
pub async fn until<T, E, P, F>(what: &str, limit: Duration, mut probe: P) -> Result<T, ServerError>
where
    P: FnMut() -> F,
    F: Future<Output = Result<T, E>>,
    E: fmt::Display,
{
    let mut last = String::from("it did not answer");
    let asking = async {
        loop {
            match probe().await {
                Ok(value) => return value,
                Err(why) => last = why.to_string(),
            }
            pause(Duration::from_millis(10)).await;
        }
    };
    // The elapsed case drops `asking`, and with it the borrow of `last`.
    let answer = tokio::time::timeout(limit, asking).await;
    answer.map_err(|_| ServerError::new(format!("{what}: not within {limit:?}: {last}")))
}

#[expect(clippy::disallowed_methods, reason = "a real server is waited for in real time")]
async fn pause(time: Duration) {
    tokio::time::sleep(time).await;
}
