//! The walk, step by step.

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use super::walk::At::{Auth, User};
use super::walk::Walk;
use crate::service::BoxError;

const PASSWORD: &str = "correct horse battery staple";

/// What a client keeps after logging in.
struct Client {
    token: String,
    session: String,
}

pub(super) async fn all(walk: &mut Walk) -> Result<(), BoxError> {
    register(walk).await?;
    let laptop = first_log_in(walk).await?;
    profile_through_the_cache(walk, &laptop).await?;
    list_through_the_cache(walk, &laptop).await?;
    let grace = update(walk, &laptop).await?;
    log_outs(walk, &laptop).await?;
    job(walk, &grace).await?;
    guesses(walk).await?;
    summary(walk).await
}

async fn register(walk: &mut Walk) -> Result<(), BoxError> {
    walk.step("Two users register: a password hash here, a profile there");
    let ada = json!({ "login": "ada", "password": PASSWORD, "name": "Ada", "city": "London" });
    let grace = json!({ "login": "grace", "password": PASSWORD, "name": "Grace", "city": "New York" });
    walk.expect(201, walk.post(Auth, "/register").json(&ada), "Ada").await?;
    walk.expect(201, walk.post(Auth, "/register").json(&grace), "Grace").await?;
    walk.expect(409, walk.post(Auth, "/register").json(&ada), "there is an Ada").await?;
    walk.until("user.created events seen by user-service", User, "/events/seen", 2).await
}

async fn first_log_in(walk: &mut Walk) -> Result<Client, BoxError> {
    walk.step("Ada logs in: a session, and a signed token within it");
    let wrong = log_in(walk, "ada", "wrong password", "laptop");
    let wrong = walk.expect(401, wrong, "the wrong password").await?;
    let nobody = log_in(walk, "nobody", PASSWORD, "laptop");
    let nobody = walk.expect(401, nobody, "nobody of this name: the same answer").await?;
    walk.check("both are told", nobody.body.to_string(), wrong.body.to_string())?;
    let laptop = logged_in(walk, "ada", "laptop").await?;
    sessions(walk, &laptop, 1).await?;
    Ok(laptop)
}

async fn profile_through_the_cache(walk: &mut Walk, ada: &Client) -> Result<(), BoxError> {
    walk.step("Her profile is read through the cache");
    me(walk, ada, "London", "a miss: loaded from user-service").await?;
    me(walk, ada, "London", "a hit").await?;
    let figures = [
        ("profile cache misses", "/profiles/misses", 1),
        ("profile cache hits", "/profiles/hits", 1),
        ("profile loads", "/profiles/loads", 1),
    ];
    walk.figures(Auth, &figures).await?;
    walk.figures(User, &[("database reads", "/database/reads", 1)]).await
}

async fn list_through_the_cache(walk: &mut Walk, ada: &Client) -> Result<(), BoxError> {
    walk.step("So is the list of all users: cache:list:users");
    list(walk, ada, "London", "a miss: loaded from the database").await?;
    list(walk, ada, "London", "a hit").await?;
    walk.figures(User, &[("list loads", "/list/loads", 1), ("database reads", "/database/reads", 2)]).await
}

async fn update(walk: &mut Walk, ada: &Client) -> Result<Client, BoxError> {
    walk.step("Ada moves to Turin, and user.updated drops every copy");
    let grace = logged_in(walk, "grace", "desktop").await?;
    let turin = json!({ "name": "Ada", "city": "Turin" });
    let put =
        |walk: &Walk, client: &Client| by(walk.request(Method::PUT, User, "/users/ada"), client).json(&turin);
    walk.expect(403, put(walk, &grace), "Grace can't change Ada").await?;
    walk.expect(200, put(walk, ada), "Ada can").await?;
    walk.until("user.updated events seen by auth-service", Auth, "/events/seen", 1).await?;
    walk.until("events seen by user-service", User, "/events/seen", 3).await?;
    walk.figures(Auth, &[("profiles dropped", "/events/dropped", 1)]).await?;
    walk.figures(User, &[("lists dropped", "/events/dropped", 1)]).await?;
    me(walk, ada, "Turin", "loaded anew").await?;
    list(walk, ada, "Turin", "loaded anew").await?;
    walk.figures(Auth, &[("profile loads", "/profiles/loads", 2)]).await?;
    walk.figures(User, &[("list loads", "/list/loads", 2), ("database reads", "/database/reads", 4)]).await?;
    Ok(grace)
}

async fn log_outs(walk: &mut Walk, laptop: &Client) -> Result<(), BoxError> {
    walk.step("Log-out ends a session and revokes its tokens, in both services at once");
    let phone = logged_in(walk, "ada", "phone").await?;
    sessions(walk, laptop, 2).await?;
    walk.expect(204, by(walk.post(Auth, "/logout"), laptop), "on the laptop").await?;
    walk.expect(401, by(walk.get(Auth, "/me"), laptop), "its token is revoked here").await?;
    walk.expect(401, by(walk.get(User, "/users"), laptop), "and there").await?;
    let renew = |walk: &Walk, client: &Client| walk.post(Auth, "/token").bearer_auth(&client.session);
    walk.expect(401, renew(walk, laptop), "its session gives no new token").await?;
    let renewed = walk.expect(200, renew(walk, &phone), "the phone's still does").await?;
    let renewed = Client { token: text(walk, &renewed.body, "token")?, session: phone.session.clone() };
    sessions(walk, &renewed, 1).await?;

    walk.step("Log-out everywhere");
    let ended = by(walk.request(Method::DELETE, Auth, "/sessions"), &renewed);
    let ended = walk.expect(200, ended, "all of Ada's sessions").await?;
    walk.check("sessions ended", ended.body["ended"].to_string(), "1".to_owned())?;
    walk.expect(401, by(walk.get(Auth, "/me"), &phone), "the phone's first token").await?;
    walk.expect(401, by(walk.get(Auth, "/me"), &renewed), "and its second").await?;
    Ok(())
}

async fn job(walk: &mut Walk, grace: &Client) -> Result<(), BoxError> {
    walk.step("A job runs once at a time, under a lock");
    let digest =
        |walk: &Walk, seconds: u8| by(walk.post(User, "/jobs/digest"), grace).query(&[("seconds", seconds)]);
    // It takes a minute, unless its caller hangs up.
    let first = tokio::spawn(digest(walk, 60).send());
    walk.until("digests under way", User, "/digests", 1).await?;
    walk.expect(409, digest(walk, 0), "a second one at the same time").await?;
    first.abort();
    walk.note("the first caller hangs up: its work ends, and its lock is released");
    let next = walk.expect_soon(200, 409, digest(walk, 0), "the next one").await?;
    walk.check("it had a fencing token", next.body["fence"].is_u64(), true)
}

async fn guesses(walk: &mut Walk) -> Result<(), BoxError> {
    walk.step("Guessing Grace's password is limited to five attempts in a quarter of an hour");
    for note in ["the second, after her log-in", "the third", "the fourth", "the fifth"] {
        walk.expect(401, log_in(walk, "grace", "a wrong guess", "unknown"), note).await?;
    }
    let sixth = log_in(walk, "grace", PASSWORD, "unknown");
    let denied = walk.expect(429, sixth, "the sixth, though it would be right").await?;
    let wait = denied.retry_after.unwrap_or_default();
    walk.note(&format!("Retry-After: {wait} s"));
    walk.check("it says when to come back", (1..=180).contains(&wait), true)
}

async fn summary(walk: &mut Walk) -> Result<(), BoxError> {
    walk.step("What the caches and the events did");
    let (auth, user) = (walk.stats(Auth).await?, walk.stats(User).await?);
    println!("   {:<24}   hits  misses   loads", "cache");
    for (name, cache) in
        [("profiles, auth-service", &auth["profiles"]), ("list, user-service", &user["list"])]
    {
        println!("   {name:<24} {:>6}  {:>6}  {:>6}", cache["hits"], cache["misses"], cache["loads"]);
    }
    println!("   {:<24}   seen  missed  copies dropped", "events");
    for (name, events) in [("auth-service", &auth["events"]), ("user-service", &user["events"])] {
        println!("   {name:<24} {:>6}  {:>6}  {:>6}", events["seen"], events["gaps"], events["dropped"]);
    }
    Ok(())
}

fn by(request: RequestBuilder, client: &Client) -> RequestBuilder {
    request.bearer_auth(&client.token)
}

fn log_in(walk: &Walk, login: &str, password: &str, device: &str) -> RequestBuilder {
    let body = json!({ "login": login, "password": password, "device": device });
    walk.post(Auth, "/login").json(&body)
}

async fn logged_in(walk: &mut Walk, login: &str, device: &str) -> Result<Client, BoxError> {
    let request = log_in(walk, login, PASSWORD, device);
    let body = walk.expect(200, request, &format!("{login}, on her {device}")).await?.body;
    Ok(Client { token: text(walk, &body, "token")?, session: text(walk, &body, "session")? })
}

async fn sessions(walk: &mut Walk, client: &Client, expected: usize) -> Result<(), BoxError> {
    let list = walk.expect(200, by(walk.get(Auth, "/sessions"), client), "her sessions").await?.body;
    let devices: Vec<_> = list.as_array().into_iter().flatten().map(|session| &session["device"]).collect();
    walk.check(&format!("sessions listed, on {devices:?}"), devices.len(), expected)
}

async fn me(walk: &mut Walk, client: &Client, city: &str, note: &str) -> Result<(), BoxError> {
    let profile = walk.expect(200, by(walk.get(Auth, "/me"), client), note).await?.body;
    walk.check("she lives in", text(walk, &profile, "city")?, city.to_owned())
}

async fn list(walk: &mut Walk, client: &Client, city: &str, note: &str) -> Result<(), BoxError> {
    let list = walk.expect(200, by(walk.get(User, "/users"), client), note).await?.body;
    walk.check("users listed, the first is Ada", list.as_array().map_or(0, Vec::len), 2)?;
    walk.check("she lives in", text(walk, &list[0], "city")?, city.to_owned())
}

fn text(walk: &Walk, value: &Value, field: &str) -> Result<String, BoxError> {
    value[field].as_str().map(str::to_owned).ok_or_else(|| walk.failed(field, "nothing", "a text"))
}
