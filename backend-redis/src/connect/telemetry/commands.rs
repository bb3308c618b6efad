//! Spans and durations of commands, by the names of OpenTelemetry, for those who ask for them.

use std::sync::Arc;

use stanchion::clock::Clock;
use stanchion::environment::Environment;
use stanchion::telemetry::{Histogram, LabelValue, connection as metric};
use stanchion::time::Monotonic;
use stanchion::{Error, Result};
use tracing::field::Empty;
use tracing::{Instrument, Span};

use super::operation::Operation;
use crate::config::RedisConfig;
use crate::error;

/// What is wanted of each command.
#[derive(Debug)]
pub(in crate::connect) struct CommandTelemetry {
    spans: bool,
    // The histogram of each operation that does not fail, in the order of their names. No map: without `metrics` a histogram has no size.
    durations: Option<Vec<(&'static str, Histogram)>>,
    clock: Arc<dyn Clock>,
}

impl CommandTelemetry {
    /// `None` if nothing is asked for.
    pub(in crate::connect) fn new(config: &RedisConfig, environment: &Environment) -> Option<Self> {
        let spans = config.command_spans;
        let durations = config.command_durations.then(|| {
            let mut durations: Vec<_> =
                Operation::names().map(|name| (name, histogram(name, None))).collect();
            durations.sort_unstable_by_key(|(name, _)| *name);
            durations
        });
        let clock = Arc::clone(&environment.clock);
        (spans || durations.is_some()).then_some(Self { spans, durations, clock })
    }

    /// Runs the operation at this server, in a span of its own and timed, as far as that is asked for.
    pub(in crate::connect) async fn one<T>(
        &self,
        server: (&str, Option<u16>),
        operation: Operation,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let running = self.begin(server, operation);
        let outcome = work.instrument(running.span.clone()).await;
        running.end(outcome.as_ref().err());
        outcome
    }

    /// The same of several commands that are sent together; the first that fails is the failure of all.
    pub(in crate::connect) async fn all<T>(
        &self,
        server: (&str, Option<u16>),
        operation: Operation,
        work: impl Future<Output = Vec<Result<T>>>,
    ) -> Vec<Result<T>> {
        let running = self.begin(server, operation);
        let outcomes = work.instrument(running.span.clone()).await;
        running.end(outcomes.iter().find_map(|outcome| outcome.as_ref().err()));
        outcomes
    }

    fn begin(&self, server: (&str, Option<u16>), operation: Operation) -> Running<'_> {
        let span = if self.spans { span(server, operation) } else { Span::none() };
        let began_at = self.durations.as_ref().map(|_| self.clock.now());
        Running { of: self, operation, span, began_at, ended: false }
    }
}

fn histogram(operation: &'static str, error: Option<&'static str>) -> Histogram {
    let mut labels: Vec<LabelValue<'_>> = vec!["redis".into(), operation.into()];
    labels.extend(error.map(LabelValue::from));
    Histogram::new(&metric::COMMAND_SECONDS, &labels)
}

fn span((host, port): (&str, Option<u16>), operation: Operation) -> Span {
    tracing::info_span!(
        "redis.command",
        otel.name = operation.name,
        otel.kind = "client",
        db.system.name = "redis",
        db.operation.name = operation.name,
        db.operation.batch.size = operation.batch,
        db.stored_procedure.name = operation.script,
        db.response.status_code = Empty,
        error.type = Empty,
        server.address = host,
        server.port = port,
    )
}

/// An operation that has no outcome yet.
struct Running<'a> {
    of: &'a CommandTelemetry,
    operation: Operation,
    span: Span,
    began_at: Option<Monotonic>,
    ended: bool,
}

impl Running<'_> {
    fn end(mut self, error: Option<&Error>) {
        self.ended = true;
        let status = error.and_then(error::status_code);
        if let Some(status) = status {
            self.span.record("db.response.status_code", status);
        }
        self.note(error.map(|error| status.unwrap_or_else(|| error.kind().name())));
    }

    fn note(&self, error: Option<&'static str>) {
        if let Some(error) = error {
            self.span.record("error.type", error);
        }
        if let Some(began_at) = self.began_at {
            let took = self.of.clock.now().saturating_since(began_at);
            let kept = self.of.durations.as_ref().and_then(|kept| {
                let at = kept.binary_search_by_key(&self.operation.name, |(name, _)| name).ok()?;
                Some(&kept[at].1)
            });
            match kept.filter(|_| error.is_none()) {
                Some(histogram) => histogram.record(took),
                None => histogram(self.operation.name, error).record(took),
            }
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        // Its caller has left, or the deadline of its operation is over.
        if !self.ended {
            self.note(Some("cancelled"));
        }
    }
}
