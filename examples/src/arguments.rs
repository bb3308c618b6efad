//! The command line.

use std::ffi::OsString;

use lexopt::prelude::*;

pub(crate) const USAGE: &str = "\
Two services that share their state through Stanchion.

Usage:
  stanchion-examples [--redis URL] [--serve]      both services, and a walk through what they do
  stanchion-examples auth-service  --redis URL    one of them alone
  stanchion-examples user-service  --redis URL

The walk:
  --redis URL     as two processes on this Redis; without it both run here, on memory
  --serve         go on listening afterwards, until Ctrl-C

A service:
  --redis URL     redis://[user:password@]host[:port], or redis+cluster://… for a Cluster;
                  without it the variable REDIS_URL, which other users of the machine can't see
  --prefix NAME   what stands in front of every key [demo]
  --port PORT     on 127.0.0.1; 0 takes a free one [auth-service 8081, user-service 8082]
  --users URL     where the auth service finds the user service [http://127.0.0.1:8082]
  --until-eof     end when standard input does, as well as on Ctrl-C
  JWT_PRIVATE_KEY, JWT_PUBLIC_KEY
                  Ed25519 in PEM: the auth service signs, the user service only verifies
";

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Help,
    Demo(DemoOptions),
    Service(ServiceOptions),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct DemoOptions {
    pub(crate) redis: Option<String>,
    pub(crate) serve: bool,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ServiceOptions {
    pub(crate) kind: ServiceKind,
    pub(crate) redis: String,
    pub(crate) prefix: String,
    pub(crate) port: u16,
    pub(crate) users: String,
    pub(crate) until_eof: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ServiceKind {
    Auth,
    User,
}

/// Reads the command line; its first word is the program's name.
pub(crate) fn parse(words: impl IntoIterator<Item = OsString>) -> Result<Command, lexopt::Error> {
    let mut parser = lexopt::Parser::from_iter(words);
    let (mut kind, mut redis, mut serve, mut until_eof) = (None, None, false, false);
    let (mut prefix, mut port, mut users) = (None, None, None);
    while let Some(argument) = parser.next()? {
        match (argument, kind) {
            (Short('h') | Long("help"), _) => return Ok(Command::Help),
            (Value(name), None) if name == "auth-service" => kind = Some(ServiceKind::Auth),
            (Value(name), None) if name == "user-service" => kind = Some(ServiceKind::User),
            (Long("redis"), _) => redis = Some(parser.value()?.string()?),
            (Long("serve"), None) => serve = true,
            (Long("prefix"), Some(_)) => prefix = Some(parser.value()?.string()?),
            (Long("port"), Some(_)) => port = Some(parser.value()?.parse()?),
            (Long("users"), Some(ServiceKind::Auth)) => users = Some(parser.value()?.string()?),
            (Long("until-eof"), Some(_)) => until_eof = true,
            (argument, _) => return Err(argument.unexpected()),
        }
    }
    let Some(kind) = kind else {
        return Ok(Command::Demo(DemoOptions { redis, serve }));
    };
    if serve {
        return Err("--serve belongs to the walk; a service alone always goes on".into());
    }
    Ok(Command::Service(ServiceOptions {
        kind,
        redis: redis
            .or_else(|| std::env::var("REDIS_URL").ok())
            .ok_or("a service alone needs --redis URL, or the variable REDIS_URL")?,
        prefix: prefix.unwrap_or_else(|| "demo".to_owned()),
        port: port.unwrap_or(match kind {
            ServiceKind::Auth => 8081,
            ServiceKind::User => 8082,
        }),
        users: users.unwrap_or_else(|| "http://127.0.0.1:8082".to_owned()),
        until_eof,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, lexopt::Error> {
        parse(["stanchion-examples"].into_iter().chain(line.split_whitespace()).map(OsString::from))
    }

    #[test]
    fn no_arguments_are_the_walk_on_memory() {
        assert_eq!(parsed("").unwrap(), Command::Demo(DemoOptions { redis: None, serve: false }));
    }

    #[test]
    fn a_service_has_a_port_and_a_prefix_of_its_own() {
        let Command::Service(options) = parsed("user-service --redis redis://host --port=0").unwrap() else {
            panic!("a service was asked for");
        };
        assert_eq!((options.kind, options.port), (ServiceKind::User, 0));
        assert_eq!((options.redis.as_str(), options.prefix.as_str()), ("redis://host", "demo"));
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            "--nonsense",
            "nonsense",
            "--redis",
            "--port 1",
            "auth-service user-service",
            "auth-service --redis u --port many",
            "user-service --redis u --users u",
            "auth-service --redis u --serve",
            "--serve auth-service --redis u",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }
}
