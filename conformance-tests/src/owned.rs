//! A server, or whatever else a store stands on, that a case may break.

use std::time::Duration;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::stores::Stores;

use crate::{Place, Unavailable};

/// A server of one case's own, which ends with this value; or a file, a folder, another process: what the store can't do
/// without.
///
/// The orders return once they are carried out, as far as the server's side goes; handles notice in their own time.
///
/// What can't be done to it is left out: the default of an order says that it is lacking, the cases that give it are
/// ignored with that reason, and the others run. A database in a file may be away ([`stop`](Self::stop): the file is
/// moved, locked by somebody else, or on a disk that is full), and loses no replies. An order that fails though it could
/// be carried out is [`Unavailable::broken`], which fails the case.
#[async_trait]
pub trait OwnedServer: Send + Sync + 'static {
    /// A handle on a place of this server; each is another process.
    async fn open(&self, place: &Place) -> Result<Stores>;

    /// How long a call of these handles may take, by their settings. A few seconds: cases wait for it.
    fn deadline(&self) -> Duration;

    /// Takes the server away: every connection ends, and nobody answers. It keeps what it has. With it comes
    /// [`start`](Self::start).
    async fn stop(&self) -> Result<(), Unavailable> {
        Err(Unavailable::lacking("what the store stands on can't be taken away"))
    }

    /// Brings it back, with what it had.
    async fn start(&self) -> Result<(), Unavailable> {
        Err(Unavailable::lacking("what the store stands on can't be brought back"))
    }

    /// The next request that contains this text, as part of a key or of what is written, is carried out; its reply
    /// is lost, and the connection with it.
    async fn lose_reply_to(&self, _text: &str) -> Result<(), Unavailable> {
        Err(Unavailable::lacking("there are no replies that could be lost"))
    }
}
