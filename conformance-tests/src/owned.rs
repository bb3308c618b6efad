//! A server that a case may break.

use std::time::Duration;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::stores::Stores;

use crate::Place;

/// A server of one case's own, which ends with this value.
///
/// The orders return once they are carried out, as far as the server's side goes; handles notice in their own time.
#[async_trait]
pub trait OwnedServer: Send + Sync + 'static {
    /// A handle on a place of this server; each is another process.
    async fn open(&self, place: &Place) -> Result<Stores>;

    /// How long a call of these handles may take, by their settings. A few seconds: cases wait for it.
    fn deadline(&self) -> Duration;

    /// Takes the server away: every connection ends, and nobody answers. It keeps what it has.
    async fn stop(&self);

    /// Brings it back, with what it had.
    async fn start(&self);

    /// The next request that contains this text, as part of a key or of what is written, is carried out; its reply
    /// is lost, and the connection with it.
    async fn lose_reply_to(&self, text: &str);
}
