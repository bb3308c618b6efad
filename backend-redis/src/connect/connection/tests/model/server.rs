//! The server: reads requests in whatever pieces they come, replies to them in their order, and pushes messages in between.

use std::collections::VecDeque;

use redis::{PushInfo, Value};

use super::replies;
use super::requests::{self, Asked};
#[cfg(feature = "tls")]
use super::tls::Session;
use super::wire::Wire;

pub(super) struct Server {
    wire: Wire,
    #[cfg(feature = "tls")]
    tls: Option<Session>,
    /// All that has come.
    pub(super) received: Vec<u8>,
    // So much of it is understood.
    understood: usize,
    /// What is not replied to.
    pub(super) asked: VecDeque<Asked>,
    /// All replies and messages ever.
    pub(super) replies: Vec<u8>,
    /// So much of them is sent.
    pub(super) sent: usize,
    /// So much of that before the connection was closed.
    pub(super) carried: usize,
    /// The messages among them, and where they end.
    pub(super) pushed: Vec<(PushInfo, usize)>,
    /// It has sent what is no reply: nothing comes behind that.
    pub(super) mad: bool,
}

impl Server {
    pub(super) fn new(wire: &Wire) -> Self {
        Self {
            wire: wire.clone(),
            #[cfg(feature = "tls")]
            tls: None,
            received: Vec::new(),
            understood: 0,
            asked: VecDeque::new(),
            replies: Vec::new(),
            sent: 0,
            carried: 0,
            pushed: Vec::new(),
            mad: false,
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn with_tls(wire: &Wire, session: Session) -> Self {
        Self { tls: Some(session), ..Self::new(wire) }
    }

    /// Reads at most so many bytes.
    pub(super) fn receive(&mut self, most: usize) -> Result<(), String> {
        let bytes = self.wire.receive(most);
        #[cfg(feature = "tls")]
        let bytes = match &mut self.tls {
            Some(session) => session.decrypt(&bytes)?,
            None => bytes,
        };
        self.received.extend(bytes);
        while let Some((asked, length)) = requests::first(&self.received[self.understood..])? {
            self.asked.push_back(asked);
            self.understood += length;
        }
        Ok(())
    }

    /// Adds a reply; answers where it ends.
    pub(super) fn reply(&mut self, reply: &[u8]) -> usize {
        self.replies.extend_from_slice(reply);
        self.replies.len()
    }

    /// Adds a message; answers where it ends.
    pub(super) fn push(&mut self, message: &[u8]) -> usize {
        let end = self.reply(message);
        if let Value::Push { kind, data } = replies::value(message) {
            self.pushed.push((PushInfo { kind, data }, end));
        }
        end
    }

    /// Sends at most so many bytes of all that it has replied.
    pub(super) fn send(&mut self, most: usize) -> Result<(), String> {
        let end = self.sent.saturating_add(most).min(self.replies.len());
        let bytes = &self.replies[self.sent..end];
        #[cfg(feature = "tls")]
        let carried = match &mut self.tls {
            Some(session) => self.wire.send(&session.encrypt(bytes)?),
            None => self.wire.send(bytes),
        };
        #[cfg(not(feature = "tls"))]
        let carried = self.wire.send(bytes);
        self.sent = end;
        if carried {
            self.carried = end;
        }
        Ok(())
    }
}
