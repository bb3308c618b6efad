//! Sends requests, prints them, and holds every answer against what is expected.

use std::fmt::Display;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;
use stanchion::environment::Environment;
use stanchion::prelude::*;

use crate::service::BoxError;

pub(super) struct Walk {
    http: Client,
    auth: String,
    user: String,
    pub(super) environment: Environment,
    step: String,
    steps: usize,
    expectations: usize,
}

/// A service, by the name that is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    Auth,
    User,
}

/// An answer, and what was asked.
pub(super) struct Answer {
    line: String,
    status: u16,
    /// In seconds.
    pub(super) retry_after: Option<u64>,
    pub(super) body: Value,
}

impl Walk {
    /// How long a fact may take to become true. Only a failing walk takes that long.
    pub(super) const PATIENCE: Duration = seconds(10);

    pub(super) fn new(auth: &str, user: &str) -> Result<Self, BoxError> {
        Ok(Self {
            // The services are on this machine, whatever proxies its environment names.
            http: Client::builder().no_proxy().timeout(Duration::from_secs(90)).build()?,
            auth: auth.to_owned(),
            user: user.to_owned(),
            environment: Environment::system(),
            step: String::new(),
            steps: 0,
            expectations: 0,
        })
    }

    pub(super) fn steps(&self) -> usize {
        self.steps
    }

    pub(super) fn expectations(&self) -> usize {
        self.expectations
    }

    /// Begins the next step.
    pub(super) fn step(&mut self, title: &str) {
        self.steps += 1;
        self.step = format!("{}. {title}", self.steps);
        println!("\n{}", self.step);
    }

    /// Says what has shown to be so.
    #[expect(clippy::unused_self, reason = "it reads as a part of the walk")]
    pub(super) fn fact(&self, text: &str) {
        println!("   ✓ {text}");
    }

    pub(super) fn request(&self, method: Method, at: At, path: &str) -> RequestBuilder {
        let base = match at {
            At::Auth => &self.auth,
            At::User => &self.user,
        };
        self.http.request(method, format!("{base}{path}"))
    }

    pub(super) fn get(&self, at: At, path: &str) -> RequestBuilder {
        self.request(Method::GET, at, path)
    }

    pub(super) fn post(&self, at: At, path: &str) -> RequestBuilder {
        self.request(Method::POST, at, path)
    }

    /// Sends a request, demands this status, and gives the answer.
    pub(super) async fn expect(
        &mut self,
        status: u16,
        request: RequestBuilder,
        note: &str,
    ) -> Result<Answer, BoxError> {
        let answer = self.send(request).await?;
        println!("   {:<27} {}  {note}", answer.line, answer.status);
        if answer.status != status {
            let actual = format!("{} {}", answer.status, answer.body);
            return Err(self.failed(&format!("{} ({note})", answer.line), actual, status));
        }
        self.expectations += 1;
        Ok(answer)
    }

    /// The same, for what becomes so: asks again for as long as the answer is `not_yet`.
    pub(super) async fn expect_soon(
        &mut self,
        status: u16,
        not_yet: u16,
        request: RequestBuilder,
        note: &str,
    ) -> Result<Answer, BoxError> {
        let clock = self.environment.clock.clone();
        let give_up = clock.now().saturating_add(Self::PATIENCE);
        while let Some(again) = request.try_clone()
            && clock.now() < give_up
            && self.send(again).await?.status == not_yet
        {
            self.environment.sleep(Duration::from_millis(10)).await;
        }
        self.expect(status, request, note).await
    }

    pub(super) async fn send(&self, request: RequestBuilder) -> Result<Answer, BoxError> {
        let (client, request) = request.build_split();
        let request = request?;
        let at = if request.url().as_str().starts_with(&self.auth) { "auth" } else { "user" };
        let line = format!("{:<6} {at} {}", request.method().as_str(), request.url().path());
        let unanswered = |error: reqwest::Error| format!("step {}: {line}: {error}", self.step);
        let response = client.execute(request).await.map_err(unanswered)?;
        let status = response.status().as_u16();
        let retry_after = response.headers().get("retry-after").and_then(|wait| wait.to_str().ok());
        let retry_after = retry_after.and_then(|wait| wait.parse().ok());
        let body = response.text().await.map_err(unanswered)?;
        let body = serde_json::from_str(&body).unwrap_or(Value::String(body));
        Ok(Answer { line, status, retry_after, body })
    }

    /// Demands that two values are the same.
    pub(super) fn check<T: PartialEq + Display>(
        &mut self,
        what: &str,
        actual: T,
        expected: T,
    ) -> Result<(), BoxError> {
        if actual != expected {
            return Err(self.failed(what, actual, expected));
        }
        self.expectations += 1;
        Ok(())
    }

    pub(super) fn failed(&self, what: &str, actual: impl Display, expected: impl Display) -> BoxError {
        format!("step {}: {what}: expected {expected}, got {actual}", self.step).into()
    }
}

#[cfg(test)]
mod tests {
    use std::future::IntoFuture;

    use axum::Router;
    use axum::http::StatusCode;
    use axum::routing::get;

    use super::*;

    #[tokio::test]
    async fn an_unexpected_answer_is_an_error_that_names_the_step() {
        let app = Router::new().route("/me", get(|| async { (StatusCode::IM_A_TEAPOT, "short and stout") }));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(axum::serve(listener, app).into_future());
        let mut walk = Walk::new(&url, "http://127.0.0.1:1").unwrap();
        walk.step("Tea");
        let error = walk.expect(200, walk.get(At::Auth, "/me"), "a cup").await.err().unwrap().to_string();
        for part in ["1. Tea", "GET", "/me", "a cup", "200", "418", "short and stout"] {
            assert!(error.contains(part), "{part} in {error}");
        }
        let error = walk.expect(200, walk.get(At::User, "/users"), "nobody").await.err().unwrap().to_string();
        assert!(error.contains("1. Tea"), "{error}");
    }
}
