//! Both services, and a walk through what they do together.

mod children;
mod client;
mod figures;
#[cfg(test)]
mod observability;
mod services;
mod steps;
mod walk;

use self::services::Services;
use self::walk::Walk;
use crate::arguments::DemoOptions;
use crate::service::{BoxError, told_to_end};

/// Starts both services, walks, and ends them: also if the walk fails.
pub(crate) async fn run(options: DemoOptions) -> Result<(), BoxError> {
    let services = match &options.redis {
        Some(url) => Services::as_processes(url).await?,
        None => Services::in_process().await?,
    };
    println!("{}\n\n  auth  {}\n  user  {}", services.how, services.auth, services.user);
    let walked = walk(&services, options.serve).await;
    let stopped = services.stop().await;
    walked?;
    stopped?;
    println!("\nBoth services have closed their stores.");
    Ok(())
}

async fn walk(services: &Services, serve: bool) -> Result<(), BoxError> {
    let mut walk = Walk::new(&services.auth, &services.user)?;
    steps::all(&mut walk).await?;
    println!("\nAll {} expectations of {} steps were met.", walk.expectations(), walk.steps());
    if serve {
        let told_to_end = told_to_end(false)?;
        print!("{}", curl(&services.auth, &services.user));
        told_to_end.await;
    }
    Ok(())
}

fn curl(auth: &str, user: &str) -> String {
    format!(
        r#"
Listening until Ctrl-C. To paste:

json='content-type: application/json'
curl -sw '\n' {auth}/register -H "$json" -d '{{"login":"mary","password":"correct horse","name":"Mary","city":"Paris"}}'
token=$(curl -s {auth}/login -H "$json" -d '{{"login":"mary","password":"correct horse","device":"curl"}}' | sed 's/.*"token":"\([^"]*\)".*/\1/')
curl -sw '\n' {auth}/me -H "authorization: Bearer $token"
curl -sw '\n' -X PUT {user}/users/mary -H "authorization: Bearer $token" -H "$json" -d '{{"name":"Mary","city":"Rome"}}'
curl -sw '\n' {auth}/me -H "authorization: Bearer $token"
curl -sw '\n' {user}/users -H "authorization: Bearer $token"
curl -sw '\n' {auth}/sessions -H "authorization: Bearer $token"
curl -sw '\n' {auth}/stats; curl -sw '\n' {user}/stats
curl -sw '\n' -X POST {auth}/logout -H "authorization: Bearer $token"
curl -sw '\n' {auth}/me -H "authorization: Bearer $token"
"#
    )
}
