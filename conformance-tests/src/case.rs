//! Rules, the cases that check them, and how a case ends.

use std::error::Error;
use std::fmt;

use futures_util::future::BoxFuture;

use stanchion::contract::Contract;

use crate::Context;

/// Whether a backend must keep a rule, or should.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// A backend that breaks it is wrong.
    Must,
    /// A backend that breaks it is worse.
    Should,
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Must => "MUST",
            Self::Should => "SHOULD",
        })
    }
}

/// One of the areas a backend may offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the areas of the library")]
pub enum Area {
    Cache,
    Session,
    Event,
    Lock,
    Limit,
    Token,
    Stores,
    Fault,
}

impl Area {
    /// How the area stands in the ids of its cases.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cache => "cache",
            Self::Session => "session",
            Self::Event => "event",
            Self::Lock => "lock",
            Self::Limit => "limit",
            Self::Token => "token",
            Self::Stores => "stores",
            Self::Fault => "fault",
        }
    }
}

/// What a backend must or should do, and the cases that show whether it does.
#[derive(Debug)]
pub struct Rule {
    /// `CACHE-07`. Numbers are never used again.
    pub id: &'static str,
    /// The version of the contract that brought it; a backend that was written against an earlier one, as its capabilities
    /// say, is not held to it.
    pub since: Contract,
    /// Must or should.
    pub level: Level,
    /// The rule, in a sentence.
    pub text: &'static str,
    /// At least one.
    pub cases: &'static [Case],
}

/// One case.
#[derive(Debug)]
pub struct Case {
    /// `group::what_is_shown`, without the area.
    pub name: &'static str,
    /// The case itself.
    pub run: for<'a> fn(&'a Context) -> BoxFuture<'a, Outcome>,
}

/// How a case ends.
pub type Outcome<T = ()> = Result<T, Failure>;

/// Why a case did not pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// The backend did something else than the rule asks.
    Failed {
        /// What the rule asks.
        expected: String,
        /// What was seen.
        observed: String,
    },
    /// The harness itself broke: nothing is said about the backend.
    Broken(String),
    /// The case can't run on this harness, for this reason: nothing is said about the backend.
    Ignored(String),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed { expected, observed } => write!(f, "expected: {expected}\nobserved: {observed}"),
            Self::Broken(why) => write!(f, "the harness broke: {why}"),
            Self::Ignored(why) => write!(f, "not run: {why}"),
        }
    }
}

impl Failure {
    /// The harness broke by this error, which is shown with what caused it.
    pub fn broken(what: &str, error: &dyn Error) -> Self {
        Self::Broken(format!("{what}: {}", with_sources(error)))
    }
}

impl From<stanchion::Error> for Failure {
    fn from(error: stanchion::Error) -> Self {
        Self::Failed {
            expected: "an answer".to_owned(),
            observed: format!("the error {}", with_sources(&error)),
        }
    }
}

/// An error and what caused it, down to the first cause.
pub(crate) fn with_sources(error: &dyn Error) -> String {
    let (mut text, mut cause) = (error.to_string(), error.source());
    while let Some(error) = cause {
        text = format!("{text}, caused by: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use stanchion::ErrorKind;

    use super::*;

    #[test]
    fn a_failure_by_an_error_shows_the_whole_chain() {
        let file = std::io::Error::other("permission denied");
        let store = stanchion::Error::new(ErrorKind::Unavailable, "can't lock").with_source(file);
        let outer = stanchion::Error::new(ErrorKind::Config, "can't begin").with_source(store);
        let chain =
            "configuration: can't begin, caused by: unavailable: can't lock, caused by: permission denied";
        let broken = Failure::broken("can't open a place", &outer).to_string();
        assert_eq!(broken, format!("the harness broke: can't open a place: {chain}"));
        assert!(Failure::from(outer).to_string().ends_with(chain));
    }
}
