//! What can be connected to: from URLs, and back to one.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use redis::ConnectionAddr;
use stanchion::{Error, Result};

use super::settings::RedisConfig;
use super::url::{Form, parse};

/// What [`RedisBackend::connect`](crate::RedisBackend::connect) takes: a URL or a [`RedisConfig`].
pub trait IntoRedisConfig {
    /// The settings.
    ///
    /// # Errors
    /// Those of [`RedisConfig::from_str`].
    fn into_redis_config(self) -> Result<RedisConfig>;
}

impl IntoRedisConfig for RedisConfig {
    fn into_redis_config(self) -> Result<RedisConfig> {
        Ok(self)
    }
}

impl IntoRedisConfig for &str {
    fn into_redis_config(self) -> Result<RedisConfig> {
        self.parse()
    }
}

impl IntoRedisConfig for &String {
    fn into_redis_config(self) -> Result<RedisConfig> {
        self.parse()
    }
}

impl IntoRedisConfig for String {
    fn into_redis_config(self) -> Result<RedisConfig> {
        self.parse()
    }
}

/// A URL, and the defaults of all settings that are not in it.
///
/// | scheme | what is there |
/// |---|---|
/// | `redis://[user[:password]@]host[:port]`, `valkey://…` | one server |
/// | `rediss://…`, `valkeys://…` | the same by TLS (feature `tls`) |
/// | `redis+unix:///path`, `valkey+unix:///path`, `unix:///path` | one server, by a socket; `?user=…&pass=…` if it asks for them |
/// | `redis+cluster://[user[:password]@]host[:port],host[:port],…`, `valkey+cluster://…` | a Cluster, by some of its nodes |
/// | `rediss+cluster://…`, `valkeys+cluster://…` | the same by TLS |
/// | `redis+sentinel://[user[:password]@]host[:port],host[:port],…/name`, `valkey+sentinel://…` | the master of this name, by some of its sentinels |
/// | `rediss+sentinel://…`, `valkeys+sentinel://…` | the same by TLS, to sentinels and master |
///
/// The port is 6379 unless it is there, and 26379 of sentinels. With these, user and password are those of the master: what the
/// sentinels themselves ask for is [`sentinel_credentials`](RedisConfig::sentinel_credentials). A user without a password has the empty one, which a server takes for a user that
/// needs none. Characters that have a meaning in a URL are percent-escaped.
///
/// # Errors
/// [`Config`](stanchion::ErrorKind::Config), without the URL, for one that can't be read, has another scheme or database, or
/// asks for what is not built in.
impl FromStr for RedisConfig {
    type Err = Error;

    fn from_str(url: &str) -> Result<Self> {
        let parsed = parse(url)?;
        match (parsed.form, parsed.master) {
            (Form::Cluster, _) => Self::cluster([url]),
            (Form::Sentinel, Some(master)) => Self::sentinel(&master, [url]),
            _ => Self::standalone(url),
        }
    }
}

/// The URL, without a password; the other settings are not in it. Where there is none in the settings either, it is read as the
/// same hosts and user.
impl fmt::Display for RedisConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let user = self.credentials.fixed().and_then(|credentials| credentials.named());
        let first = self.addresses.first().map(redis::ConnectionInfo::addr);
        if let Some(ConnectionAddr::Unix(path)) = first {
            write!(f, "redis+unix://{}", path.display())?;
            return match user {
                Some(user) => write!(f, "?user={}", escaped(user)),
                None => Ok(()),
            };
        }
        let tls = matches!(first, Some(ConnectionAddr::TcpTls { .. }));
        f.write_str(if tls { "rediss" } else { "redis" })?;
        f.write_str(match (self.cluster, &self.sentinel.master) {
            (true, _) => "+cluster://",
            (false, Some(_)) => "+sentinel://",
            (false, None) => "://",
        })?;
        if let Some(user) = user {
            write!(f, "{}@", escaped(user))?;
        }
        for (at, info) in self.addresses.iter().enumerate() {
            f.write_str(if at == 0 { "" } else { "," })?;
            match info.addr() {
                ConnectionAddr::Tcp(host, port) | ConnectionAddr::TcpTls { host, port, .. } => {
                    let (open, close) = if host.contains(':') { ("[", "]") } else { ("", "") };
                    write!(f, "{open}{host}{close}:{port}")?;
                }
                other => write!(f, "{other}")?,
            }
        }
        match &self.sentinel.master {
            Some(master) => write!(f, "/{}", escaped(master)),
            None => Ok(()),
        }
    }
}

/// As it may stand in a URL.
fn escaped(user: &str) -> String {
    user.bytes().fold(String::new(), |mut text, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => text.push(byte.into()),
            // Writing to a string does not fail.
            _ => drop(write!(text, "%{byte:02X}")),
        }
        text
    })
}

#[cfg(test)]
mod tests {
    use stanchion::ErrorKind;

    use super::*;

    #[test]
    fn a_url_is_read_or_refused_without_its_password() {
        let config = "redis://user:hunter2@example.org:7000".into_redis_config().unwrap();
        assert!(!format!("{config:?} {config:#?} {config}").contains("hunter2"));
        assert!(format!("{config:?}").contains("example.org:7000"));
        assert!("redis+cluster://localhost".into_redis_config().unwrap().cluster);
        for bad in [
            "",
            "localhost",
            "http://user:hunter2@host",
            "redis://user:hunter2@host/7",
            "redis://h:hunter2x",
            "redis+sentinel://svc:/hunter2@h1,h2/main",
            "redis+sentinel://svc:12/hunter2@h/main",
        ] {
            let error = bad.into_redis_config().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{bad}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{bad}");
        }
    }

    #[test]
    fn tls_follows_the_feature_and_is_never_insecure() {
        for url in ["rediss://host", "rediss+cluster://host"] {
            assert_eq!(url.into_redis_config().is_ok(), cfg!(feature = "tls"), "{url}");
            assert!(format!("{url}#insecure").into_redis_config().is_err(), "{url}");
        }
    }

    #[test]
    fn what_is_displayed_is_read_again_and_holds_no_password() {
        let mut urls = vec![
            "redis://localhost:6379",
            "redis://svc@10.0.0.1:7000",
            "redis://a%40b%2Cc@[::1]:6379",
            "redis+cluster://one:7000,two:7001",
            "redis+cluster://svc@one:6379",
            "redis+sentinel://one:26379,two:7001/main",
            "redis+sentinel://svc@[::1]:26379/my%2Fmain",
            "redis+unix:///run/redis.sock",
            "redis+unix:///run/redis.sock?user=svc",
        ];
        if cfg!(feature = "tls") {
            urls.extend([
                "rediss://host:1",
                "rediss+cluster://svc@one:1,two:2",
                "rediss+sentinel://one:1/main",
            ]);
        }
        for url in urls {
            let config: RedisConfig = url.parse().unwrap();
            assert_eq!(config.to_string(), url);
            let again: RedisConfig = config.to_string().parse().unwrap();
            assert_eq!(format!("{again:?}"), format!("{config:?}"), "{url}");
        }
        for (url, shown) in [
            ("valkey://svc:hunter2@host", "redis://svc@host:6379"),
            ("redis://:hunter2@host/0", "redis://host:6379"),
            ("redis+cluster://svc:hunter2@a,b", "redis+cluster://svc@a:6379,b:6379"),
            ("valkey+sentinel://svc:hunter2@a,b:1/m.1", "redis+sentinel://svc@a:26379,b:1/m.1"),
        ] {
            assert_eq!(url.parse::<RedisConfig>().unwrap().to_string(), shown);
        }
    }
}
