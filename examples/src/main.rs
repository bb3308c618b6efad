//! Two services that share their state through Stanchion: `auth-service` and `user-service`.
//!
//! Start reading in `stores.rs`, the one place that knows a backend; then `auth/` and `user/`, which program
//! against the façades; `demo/` starts both and walks through what they do together.

mod arguments;
mod auth;
mod caller;
mod demo;
mod error;
mod follow;
mod keys;
mod profile;
mod service;
mod stores;
mod user;

use std::process::ExitCode;

use arguments::{Command, USAGE};

#[tokio::main]
async fn main() -> ExitCode {
    let outcome = match arguments::parse(std::env::args_os()) {
        Ok(Command::Help) => {
            print!("{USAGE}");
            Ok(())
        }
        Ok(Command::Demo(options)) => demo::run(options).await,
        Ok(Command::Service(options)) => service::run_alone(options).await,
        Err(error) => {
            eprint!("{error}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
