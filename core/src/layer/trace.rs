//! A span for every call.

use std::time::Duration;

use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::call::for_each_operation;
use super::outcome::{Outcome, reported};
use super::{Answer, Around, Call};
use crate::error::Result;

/// A span at level `DEBUG` for every call, under the caller's span: `stanchion.cache.get`, say, named by the
/// [operation](Call::operation).
///
/// | field | value |
/// |---|---|
/// | `area` | `cache`, `session`, `event`, `lock`, `limit`, `token` |
/// | `operation` | `cache.get`, … |
/// | `outcome` | `ok`, `error`, or `cancelled` if the caller has dropped the call |
/// | `error.type` | the kind of error, as `invalid_input`; only of an `error` |
///
/// Never a key, an id or a user. A lost race is `ok`.
///
/// # Cancel safety
/// Dropping the future drops the call.
#[derive(Debug, Clone, Copy, Default)]
pub struct Trace;

impl Trace {
    /// A span for every call.
    pub const fn new() -> Self {
        Self
    }
}

/// A span has its name in its callsite, so each operation has one.
macro_rules! spans {
    ($($name:ident $operation:literal $kind:ident,)*) => {
        fn span(call: Call) -> Span {
            match call.operation {
                $($operation => tracing::debug_span!(
                    concat!("stanchion.", $operation),
                    area = call.area(), operation = call.operation, outcome = Empty, "error.type" = Empty,
                ),)*
                // Every call is in the table.
                _ => Span::none(),
            }
        }
    };
}
for_each_operation!(spans);

impl Around for Trace {
    fn deadline(&self, own: Option<Duration>) -> Option<Duration> {
        own
    }

    async fn call<'a, T: Send + 'a>(
        &'a self,
        call: Call,
        mut work: impl FnMut() -> Answer<'a, T> + Send + 'a,
    ) -> Result<T> {
        let span = span(call);
        let answer = work().instrument(span.clone());
        reported(answer, |outcome| match outcome {
            Outcome::Ok => _ = span.record("outcome", "ok"),
            Outcome::Cancelled => _ = span.record("outcome", "cancelled"),
            Outcome::Failed(kind) => {
                span.record("outcome", "error").record("error.type", kind.name());
            }
        })
        .await
    }
}
