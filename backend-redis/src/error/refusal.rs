//! Refusals after which a command may be sent again.

use stanchion::Error;

/// The server refused a command without doing anything, and says how to send it again. It is the source of the error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    /// `MOVED`: send it to the node that serves the slot now.
    #[error("moved to {}:{}", .0.0, .0.1)]
    Moved((String, u16)),
    /// `ASK`: send it to the node that the slot is being moved to, this time only.
    #[error("ask at {}:{}", .0.0, .0.1)]
    Ask((String, u16)),
    /// `TRYAGAIN`: send it to the same node a little later, since the slot is being moved.
    #[error("try again")]
    TryAgain,
    /// `NOSCRIPT`: send the source of the script, whose hash the server does not know.
    #[error("the script is not loaded")]
    NoScript,
}

impl Refusal {
    /// The refusal behind an error, if it is one.
    pub(crate) fn of(error: &Error) -> Option<&Self> {
        std::error::Error::source(error)?.downcast_ref()
    }

    /// The refusal that a server's error code stands for.
    pub(super) fn from_code(code: &str, details: &str) -> Option<Self> {
        // "slot host:port"; an empty host would be that of the node that replied, which no node announces to a client
        // that has reached it by one.
        let address = || {
            let (host, port) = details.split(' ').nth(1)?.rsplit_once(':')?;
            Some((host.to_owned(), port.parse().ok()?))
        };
        match code {
            "MOVED" => address().map(Self::Moved),
            "ASK" => address().map(Self::Ask),
            "TRYAGAIN" => Some(Self::TryAgain),
            "NOSCRIPT" => Some(Self::NoScript),
            _ => None,
        }
    }
}
