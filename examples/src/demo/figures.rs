//! What the services count, held against what is expected.

use std::time::Duration;

use serde_json::Value;

use super::walk::{At, Walk};
use crate::service::BoxError;

/// A figure in a service's `/stats`: its name, the service, the place, and what it has to be.
pub(super) type Figure<'a> = (&'a str, At, &'a str, u64);

impl Walk {
    /// Demands that these figures of the services' statistics are so: name, service, place and number. Prints them
    /// in one line.
    pub(super) async fn figures(&mut self, expected: &[Figure<'_>]) -> Result<(), BoxError> {
        let mut line = Vec::new();
        for (what, at, place, expected) in expected {
            let actual = self.figure(*at, place).await?;
            self.check(what, actual, *expected)?;
            line.push(format!("{what}: {actual}"));
        }
        self.fact(&line.join(", "));
        Ok(())
    }

    /// Demands that they become so: asks until the last is. Nobody says how long an event takes.
    pub(super) async fn figures_soon(&mut self, expected: &[Figure<'_>]) -> Result<(), BoxError> {
        let clock = self.environment.clock.clone();
        let give_up = clock.now().saturating_add(Self::PATIENCE);
        for (_, at, place, expected) in expected {
            while self.figure(*at, place).await? != *expected && clock.now() < give_up {
                self.environment.sleep(Duration::from_millis(10)).await;
            }
        }
        self.figures(expected).await
    }

    /// What a service has counted.
    pub(super) async fn stats(&self, at: At) -> Result<Value, BoxError> {
        Ok(self.send(self.get(at, "/stats")).await?.body)
    }

    async fn figure(&self, at: At, pointer: &str) -> Result<u64, BoxError> {
        let stats = self.stats(at).await?;
        let figure = stats.pointer(pointer).and_then(Value::as_u64);
        figure.ok_or_else(|| self.failed(pointer, stats, "a number in /stats"))
    }
}
