//! The settings that can be written down: in a settings file, and in the environment. Their names are those of the file, and in
//! capitals those of the variables.

use std::path::PathBuf;
use std::time::Duration;

use jiff::fmt::friendly::SpanParser;
use stanchion::{Error, Result};

use super::bounds::OutOfBounds;
use super::invalidation::Invalidation;
use super::settings::RedisConfig;
use crate::credentials::{Credentials, Source};

/// As they are written down; what is not there has its default.
#[derive(Default)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(default, deny_unknown_fields))]
pub(super) struct Fields {
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::urls"))]
    pub(super) url: Vec<String>,
    pub(super) username: Option<String>,
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::secret"))]
    pub(super) password: Option<String>,
    pub(super) sentinel_username: Option<String>,
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::secret"))]
    pub(super) sentinel_password: Option<String>,
    pub(super) sentinel_tls: Option<bool>,
    pub(super) client_name: Option<String>,
    pub(super) prefix: Option<String>,
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::time"))]
    pub(super) deadline: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::time"))]
    pub(super) cache_deadline: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::time"))]
    pub(super) ping_every: Option<Duration>,
    #[cfg_attr(feature = "serde", serde(deserialize_with = "super::serde::invalidation"))]
    pub(super) invalidation: Option<Invalidation>,
    pub(super) connect_attempts: Option<u32>,
    pub(super) buckets: Option<u16>,
    pub(super) max_value_bytes: Option<usize>,
    pub(super) max_batch: Option<usize>,
    pub(super) feed: Option<bool>,
    pub(super) command_spans: Option<bool>,
    pub(super) command_durations: Option<bool>,
    pub(super) root_certificate_file: Option<PathBuf>,
    pub(super) client_certificate_file: Option<PathBuf>,
    pub(super) client_key_file: Option<PathBuf>,
}

/// A setting that can't be used, without its value if that may be a secret.
#[derive(Debug)]
pub(super) struct Unusable {
    pub(super) setting: &'static str,
    pub(super) why: String,
}

impl Unusable {
    pub(super) fn new(setting: &'static str, why: impl Into<String>) -> Self {
        Self { setting, why: why.into() }
    }
}

/// An error about this setting, none of which repeats a secret.
fn of(setting: &'static str) -> impl Fn(Error) -> Unusable {
    move |error| Unusable::new(setting, format!("can't be used: {error}"))
}

impl Fields {
    pub(super) fn into_config(self) -> Result<RedisConfig, Unusable> {
        let mut config = of_urls(&self.url)?;
        config.credentials = credentials(config.credentials, self.username, self.password)?;
        if self.sentinel_username.is_some() || self.sentinel_password.is_some() {
            if config.sentinel.master.is_none() {
                let setting =
                    if self.sentinel_password.is_some() { "sentinel_password" } else { "sentinel_username" };
                return Err(Unusable::new(
                    setting,
                    "is of use with sentinels only: redis+sentinel://host:port/name",
                ));
            }
            let username = self.sentinel_username.unwrap_or_default();
            let credentials = Credentials::new(username, self.sentinel_password.unwrap_or_default());
            config = config.sentinel_credentials(credentials);
        }
        config.sentinel.tls = self.sentinel_tls;
        if let Some(name) = self.client_name {
            config = config.client_name(&name).map_err(of("client_name"))?;
        }
        if let Some(prefix) = self.prefix {
            config = config.prefix(&prefix).map_err(of("prefix"))?;
        }
        if let Some(buckets) = self.buckets {
            config = config.buckets(buckets).map_err(of("buckets"))?;
        }
        set(&mut config.deadline, self.deadline);
        set(&mut config.cache_deadline, self.cache_deadline);
        set(&mut config.ping_every, self.ping_every);
        set(&mut config.invalidation, self.invalidation);
        set(&mut config.connect_attempts, self.connect_attempts);
        set(&mut config.max_value_bytes, self.max_value_bytes);
        set(&mut config.max_batch, self.max_batch);
        set(&mut config.has_feed, self.feed);
        set(&mut config.command_spans, self.command_spans);
        set(&mut config.command_durations, self.command_durations);
        let files = [self.root_certificate_file, self.client_certificate_file, self.client_key_file];
        let config = with_files(config, files)?;
        match config.out_of_bounds() {
            Some(OutOfBounds { setting, what }) => Err(Unusable::new(setting, what)),
            None => Ok(config),
        }
    }
}

/// Several are those of a Cluster's nodes, or of sentinels, if the first is in their form.
fn of_urls(urls: &[String]) -> Result<RedisConfig, Unusable> {
    let first: RedisConfig = match urls {
        [] => return Err(Unusable::new("url", "is missing")),
        [first, ..] => first.parse().map_err(of("url"))?,
    };
    let urls = match urls {
        [_] => return Ok(first),
        several => several.iter().map(String::as_str),
    };
    match &first.sentinel.master {
        Some(master) => RedisConfig::sentinel(master, urls),
        None => RedisConfig::cluster(urls),
    }
    .map_err(of("url"))
}

fn set<T>(setting: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *setting = value;
    }
}

/// Name and password come from one place each: the URL, or a setting of their own.
fn credentials(
    of_url: Source,
    username: Option<String>,
    password: Option<String>,
) -> Result<Source, Unusable> {
    if username.is_none() && password.is_none() {
        return Ok(of_url);
    }
    let twice = |setting| Unusable::new(setting, "is in the URL as well: it belongs in one of the two");
    let in_url = of_url.fixed();
    let named = in_url.and_then(Credentials::named);
    let secret = in_url.map(Credentials::secret).filter(|secret| !secret.is_empty());
    if username.is_some() && named.is_some() {
        return Err(twice("username"));
    }
    if password.is_some() && secret.is_some() {
        return Err(twice("password"));
    }
    let username = username.or_else(|| named.map(ToOwned::to_owned)).unwrap_or_default();
    let password = password.or_else(|| secret.map(ToOwned::to_owned)).unwrap_or_default();
    Ok(Source::Fixed(Credentials::new(username, password)))
}

#[cfg(feature = "tls")]
fn with_files(
    mut config: RedisConfig,
    [root, certificate, key]: [Option<PathBuf>; 3],
) -> Result<RedisConfig, Unusable> {
    if let Some(root) = root {
        config = config.root_certificate_file(root).map_err(of("root_certificate_file"))?;
    }
    match (certificate, key) {
        (None, None) => Ok(config),
        (Some(certificate), Some(key)) => {
            config.client_certificate_files(certificate, key).map_err(of("client_certificate_file"))
        }
        (Some(_), None) => Err(Unusable::new("client_key_file", "is missing: a certificate needs its key")),
        (None, Some(_)) => Err(Unusable::new("client_certificate_file", "is missing, whose key is there")),
    }
}

#[cfg(not(feature = "tls"))]
fn with_files(config: RedisConfig, files: [Option<PathBuf>; 3]) -> Result<RedisConfig, Unusable> {
    let settings = ["root_certificate_file", "client_certificate_file", "client_key_file"];
    match settings.into_iter().zip(files).find(|(_, file)| file.is_some()) {
        Some((setting, _)) => Err(Unusable::new(setting, "needs the feature `tls` of stanchion-redis")),
        None => Ok(config),
    }
}

/// A time as people write it: `500ms`, `5s`, `1m 30s`.
pub(super) fn time(text: &str) -> Option<Duration> {
    SpanParser::new().parse_unsigned_duration(text.trim()).ok()
}
