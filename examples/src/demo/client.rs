//! The requests that a client makes, and what it keeps between them.

use reqwest::RequestBuilder;
use serde_json::{Value, json};

use super::walk::At::{Auth, User};
use super::walk::Walk;
use crate::service::BoxError;

pub(super) const PASSWORD: &str = "correct horse battery staple";

/// What a client keeps after logging in.
pub(super) struct Client {
    pub(super) token: String,
    pub(super) session: String,
    pub(super) refresh: String,
}

pub(super) fn by(request: RequestBuilder, client: &Client) -> RequestBuilder {
    request.bearer_auth(&client.token)
}

pub(super) fn log_in(walk: &Walk, login: &str, password: &str, device: &str) -> RequestBuilder {
    let body = json!({ "login": login, "password": password, "device": device });
    walk.post(Auth, "/login").json(&body)
}

pub(super) fn renew(walk: &Walk, client: &Client) -> RequestBuilder {
    walk.post(Auth, "/token").bearer_auth(&client.session)
}

pub(super) fn refresh(walk: &Walk, token: &str) -> RequestBuilder {
    walk.post(Auth, "/refresh").bearer_auth(token)
}

pub(super) fn digest(walk: &Walk, client: &Client, seconds: u8) -> RequestBuilder {
    by(walk.post(User, "/jobs/digest"), client).query(&[("seconds", seconds)])
}

pub(super) async fn logged_in(walk: &mut Walk, login: &str, device: &str) -> Result<Client, BoxError> {
    let request = log_in(walk, login, PASSWORD, device);
    let body = walk.expect(200, request, &format!("{login} on her {device}")).await?.body;
    let text = |field| text(walk, &body, field);
    Ok(Client { token: text("token")?, session: text("session")?, refresh: text("refresh")? })
}

/// Her sessions, the newest first.
pub(super) async fn sessions(walk: &mut Walk, client: &Client, devices: &str) -> Result<(), BoxError> {
    let note = format!("sessions: {devices}");
    let list = walk.expect(200, by(walk.get(Auth, "/sessions"), client), &note).await?.body;
    let sessions = list.as_array().map(Vec::as_slice).unwrap_or_default();
    let actual: Vec<_> = sessions.iter().filter_map(|session| session["device"].as_str()).collect();
    walk.check("the devices of her sessions", actual.join(", "), devices.to_owned())
}

pub(super) async fn me(walk: &mut Walk, client: &Client, city: &str, note: &str) -> Result<(), BoxError> {
    let note = format!("{city}: {note}");
    let profile = walk.expect(200, by(walk.get(Auth, "/me"), client), &note).await?.body;
    walk.check("where she lives", text(walk, &profile, "city")?, city.to_owned())
}

pub(super) async fn list(walk: &mut Walk, client: &Client, city: &str, note: &str) -> Result<(), BoxError> {
    let note = format!("{city} and New York: {note}");
    let list = walk.expect(200, by(walk.get(User, "/users"), client), &note).await?.body;
    walk.check("users", list.as_array().map_or(0, Vec::len), 2)?;
    walk.check("where the first lives", text(walk, &list[0], "city")?, city.to_owned())
}

pub(super) fn text(walk: &Walk, value: &Value, field: &str) -> Result<String, BoxError> {
    value[field].as_str().map(str::to_owned).ok_or_else(|| walk.failed(field, "nothing", "a text"))
}
