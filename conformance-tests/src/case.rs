//! Rules, the cases that check them, and how a case ends.

use std::fmt;

use futures_util::future::BoxFuture;

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

impl From<stanchion::Error> for Failure {
    fn from(error: stanchion::Error) -> Self {
        Self::Failed { expected: "an answer".to_owned(), observed: format!("the error {error}") }
    }
}
