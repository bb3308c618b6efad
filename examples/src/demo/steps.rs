//! The walk, step by step.

use reqwest::Method;
use serde_json::{Value, json};

use super::client::{
    Client, PASSWORD, by, digest, list, log_in, logged_in, me, refresh, renew, sessions, text,
};
use super::walk::At::{Auth, User};
use super::walk::Walk;
use crate::service::BoxError;

pub(super) async fn all(walk: &mut Walk) -> Result<(), BoxError> {
    register(walk).await?;
    let laptop = first_log_in(walk).await?;
    profile_through_the_cache(walk, &laptop).await?;
    list_through_the_cache(walk, &laptop).await?;
    let grace = update(walk, &laptop).await?;
    let phone = log_out(walk, &laptop).await?;
    log_out_everywhere(walk, &phone).await?;
    refresh_tokens(walk).await?;
    job(walk, &grace).await?;
    guesses(walk).await?;
    summary(walk).await
}

async fn register(walk: &mut Walk) -> Result<(), BoxError> {
    walk.step("Two users register: auth-service keeps a password hash, user-service a profile");
    let ada = json!({ "login": "ada", "password": PASSWORD, "name": "Ada", "city": "London" });
    let grace = json!({ "login": "grace", "password": PASSWORD, "name": "Grace", "city": "New York" });
    walk.expect(201, walk.post(Auth, "/register").json(&ada), "Ada").await?;
    walk.expect(201, walk.post(Auth, "/register").json(&grace), "Grace").await?;
    walk.expect(409, walk.post(Auth, "/register").json(&ada), "there is an Ada").await?;
    walk.figures_soon(&[("user.created events at user-service", User, "/events/seen", 2)]).await
}

async fn first_log_in(walk: &mut Walk) -> Result<Client, BoxError> {
    walk.step("Ada logs in: a session, and a signed token within it");
    let wrong = log_in(walk, "ada", "wrong password", "laptop");
    let wrong = walk.expect(401, wrong, "the wrong password").await?;
    let nobody = log_in(walk, "nobody", PASSWORD, "laptop");
    let nobody = walk.expect(401, nobody, "nobody of this name").await?;
    walk.check("the answer to an unknown login", nobody.body.to_string(), wrong.body.to_string())?;
    walk.fact("whoever guesses learns nothing: both answers are the same");
    let laptop = logged_in(walk, "ada", "laptop").await?;
    sessions(walk, &laptop, "laptop").await?;
    Ok(laptop)
}

async fn profile_through_the_cache(walk: &mut Walk, ada: &Client) -> Result<(), BoxError> {
    walk.step("Her profile is read through the cache: cache:user:ada");
    me(walk, ada, "London", "a miss, loaded from user-service").await?;
    me(walk, ada, "London", "a hit").await?;
    walk.figures(&[
        ("cache misses", Auth, "/profiles/misses", 1),
        ("hits", Auth, "/profiles/hits", 1),
        ("loads", Auth, "/profiles/loads", 1),
        ("database reads", User, "/database/reads", 1),
    ])
    .await
}

async fn list_through_the_cache(walk: &mut Walk, ada: &Client) -> Result<(), BoxError> {
    walk.step("So is the list of all users: cache:list:users");
    list(walk, ada, "London", "a miss, loaded from the database").await?;
    list(walk, ada, "London", "a hit").await?;
    walk.figures(&[
        ("cache misses", User, "/list/misses", 1),
        ("hits", User, "/list/hits", 1),
        ("loads", User, "/list/loads", 1),
        ("database reads", User, "/database/reads", 2),
    ])
    .await
}

async fn update(walk: &mut Walk, ada: &Client) -> Result<Client, BoxError> {
    walk.step("Ada moves to Turin: user.updated drops every copy");
    let grace = logged_in(walk, "grace", "desktop").await?;
    let turin = json!({ "name": "Ada", "city": "Turin" });
    let put = |walk: &Walk, who: &Client| by(walk.request(Method::PUT, User, "/users/ada"), who).json(&turin);
    walk.expect(403, put(walk, &grace), "Grace can't change Ada").await?;
    walk.expect(200, put(walk, ada), "Ada can").await?;
    walk.figures_soon(&[
        ("user.updated events at auth-service", Auth, "/events/seen", 1),
        ("profiles dropped", Auth, "/events/dropped", 1),
    ])
    .await?;
    walk.figures_soon(&[
        ("events at user-service", User, "/events/seen", 3),
        ("lists dropped", User, "/events/dropped", 1),
    ])
    .await?;
    me(walk, ada, "Turin", "loaded anew").await?;
    list(walk, ada, "Turin", "loaded anew").await?;
    walk.figures(&[
        ("profile loads", Auth, "/profiles/loads", 2),
        ("list loads", User, "/list/loads", 2),
        ("database reads", User, "/database/reads", 4),
    ])
    .await?;
    Ok(grace)
}

async fn log_out(walk: &mut Walk, laptop: &Client) -> Result<Client, BoxError> {
    walk.step("Log-out ends a session and revokes its tokens, in both services at once");
    let phone = logged_in(walk, "ada", "phone").await?;
    sessions(walk, laptop, "phone, laptop").await?;
    walk.expect(204, by(walk.post(Auth, "/logout"), laptop), "on the laptop").await?;
    walk.expect(401, by(walk.get(Auth, "/me"), laptop), "its token is revoked here").await?;
    walk.expect(401, by(walk.get(User, "/users"), laptop), "and there").await?;
    walk.expect(401, renew(walk, laptop), "its session gives no new token").await?;
    sessions(walk, &phone, "phone").await?;
    Ok(phone)
}

async fn log_out_everywhere(walk: &mut Walk, phone: &Client) -> Result<(), BoxError> {
    walk.step("Log-out everywhere, say after a theft, ends the rest");
    let renewed = walk.expect(200, renew(walk, phone), "a new token for the phone's session").await?;
    let renewed = text(walk, &renewed.body, "token")?;
    let renewed = Client { token: renewed, session: phone.session.clone(), refresh: phone.refresh.clone() };
    let ended = by(walk.request(Method::DELETE, Auth, "/sessions"), &renewed);
    let ended = walk.expect(200, ended, "all of Ada's sessions").await?;
    walk.check("sessions ended", ended.body["ended"].to_string(), "1".to_owned())?;
    walk.expect(401, by(walk.get(Auth, "/me"), phone), "the phone's first token").await?;
    walk.expect(401, by(walk.get(Auth, "/me"), &renewed), "and its second").await?;
    Ok(())
}

async fn refresh_tokens(walk: &mut Walk) -> Result<(), BoxError> {
    walk.step("A refresh token is used once; used again later it was stolen, by one of the two who have it");
    let tablet = logged_in(walk, "ada", "tablet").await?;
    let (one, other) = (refresh(walk, &tablet.refresh), refresh(walk, &tablet.refresh));
    let one = walk.expect(200, one, "a new token, and the next refresh token").await?.body;
    let other = walk.expect(200, other, "from another tab, at the same time").await?.body;
    let next = text(walk, &one, "refresh")?;
    walk.check("the other tab has the same", text(walk, &other, "refresh")? == next, true)?;
    let last = walk.expect(200, refresh(walk, &next), "the next one is used").await?.body;
    let last = Client {
        token: text(walk, &last, "token")?,
        session: tablet.session,
        refresh: text(walk, &last, "refresh")?,
    };
    walk.expect(200, by(walk.get(Auth, "/sessions"), &last), "all is well").await?;
    walk.expect(401, refresh(walk, &tablet.refresh), "a thief comes with the first one").await?;
    walk.expect(401, refresh(walk, &last.refresh), "the last one has ended").await?;
    walk.expect(401, by(walk.get(User, "/users"), &last), "its token is revoked").await?;
    walk.expect(401, renew(walk, &last), "and so has the session").await?;
    Ok(())
}

async fn job(walk: &mut Walk, grace: &Client) -> Result<(), BoxError> {
    walk.step("A job runs once at a time, under a lock");
    // It takes a minute, unless its caller hangs up.
    let first = tokio::spawn(digest(walk, grace, 60).send());
    walk.figures_soon(&[("digests begun", User, "/digests", 1)]).await?;
    walk.expect(409, digest(walk, grace, 0), "a second one at the same time").await?;
    first.abort();
    let next = digest(walk, grace, 0);
    let next = walk.expect_soon(200, 409, next, "once the first caller has hung up").await?;
    walk.check("it had a fencing token", next.body["fence"].is_u64(), true)?;
    walk.fact(&format!(
        "the work ended with its request, and the lock with the work; fence {}",
        next.body["fence"]
    ));
    Ok(())
}

async fn guesses(walk: &mut Walk) -> Result<(), BoxError> {
    walk.step("Grace logs in as often as she likes; guessing her password is limited to five failures");
    for note in ["her second log-in", "the third", "the fourth", "the fifth", "the sixth"] {
        walk.expect(200, log_in(walk, "grace", PASSWORD, "unknown"), note).await?;
    }
    for note in ["the first failure", "the second", "the third", "the fourth", "the fifth"] {
        walk.expect(401, log_in(walk, "grace", "a wrong guess", "unknown"), note).await?;
    }
    let sixth = log_in(walk, "grace", PASSWORD, "unknown");
    let denied = walk.expect(429, sixth, "the sixth, though it would be right").await?;
    let wait = denied.retry_after.unwrap_or_default();
    walk.check("Retry-After is within a minute", (1..=60).contains(&wait), true)?;
    walk.fact(&format!("Retry-After: {wait} s"));
    Ok(())
}

async fn summary(walk: &mut Walk) -> Result<(), BoxError> {
    walk.step("What the caches and the events did");
    let (auth, user) = (walk.stats(Auth).await?, walk.stats(User).await?);
    let row = |name: &str, of: &Value, columns: [&str; 3]| {
        let [a, b, c] = columns.map(|column| of[column].as_u64().unwrap_or_default());
        println!("   {name:<25} {a:>7} {b:>7} {c:>7}");
    };
    println!("   {:<25} {:>7} {:>7} {:>7}", "cache", "hits", "misses", "loads");
    row("profiles at auth-service", &auth["profiles"], ["hits", "misses", "loads"]);
    row("list at user-service", &user["list"], ["hits", "misses", "loads"]);
    println!("   {:<25} {:>7} {:>7} {:>7}", "events", "seen", "gaps", "dropped");
    row("at auth-service", &auth["events"], ["seen", "gaps", "dropped"]);
    row("at user-service", &user["events"], ["seen", "gaps", "dropped"]);
    Ok(())
}
