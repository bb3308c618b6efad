//! Settings from a file, by serde.

use std::fmt;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use super::fields::{self, Fields, Unusable};
use super::invalidation::Invalidation;
use super::settings::RedisConfig;

impl<'de> Deserialize<'de> for RedisConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Fields::deserialize(deserializer)?;
        let unusable = |Unusable { setting, why }| D::Error::custom(format!("the setting `{setting}` {why}"));
        fields.into_config().map_err(unusable)
    }
}

/// Text that may be a secret: what is none is not repeated in the error, as serde would.
struct Text(&'static str);

impl<'de> Visitor<'de> for Text {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        Ok(vec![text.to_owned()])
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut texts = Vec::new();
        while let Some(Secret(text)) = items.next_element()? {
            texts.push(text);
        }
        Ok(texts)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
        Err(E::custom(format!("a number, where there should be {}", self.0)))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
        self.visit_i64(0)
    }

    // By default these two would quote it.
    fn visit_i128<E: Error>(self, _: i128) -> Result<Self::Value, E> {
        self.visit_i64(0)
    }

    fn visit_u128<E: Error>(self, _: u128) -> Result<Self::Value, E> {
        self.visit_i64(0)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
        self.visit_i64(0)
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Self::Value, E> {
        Err(E::custom(format!("bytes, where there should be {}", self.0)))
    }
}

/// One text.
struct Secret(String);

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match <[String; 1]>::try_from(deserializer.deserialize_any(Text("text"))?) {
            Ok([text]) => Ok(Self(text)),
            Err(_) => Err(D::Error::custom("a list, where there should be text")),
        }
    }
}

pub(super) fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<String>, D::Error> {
    Secret::deserialize(deserializer).map(|Secret(text)| Some(text))
}

pub(super) fn urls<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    deserializer.deserialize_any(Text("a URL, or a list of URLs"))
}

pub(super) fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let none = || D::Error::custom(format!("{text:?} is no time such as \"500ms\", \"5s\" or \"1m 30s\""));
    fields::time(&text).map(Some).ok_or_else(none)
}

pub(super) fn invalidation<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Invalidation>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let none = || D::Error::custom(format!("{text:?} is neither \"tracking\" nor \"bus\""));
    Invalidation::named(&text).map(Some).ok_or_else(none)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<RedisConfig, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_file_sets_what_is_in_it() {
        let config = read(
            r#"{"url": ["redis://one", "redis://two:7001"], "username": "svc", "password": "hunter2",
                "client_name": "orders", "prefix": "staging", "deadline": "500ms", "cache_deadline": "50ms",
                "ping_every": "1m 30s", "invalidation": "bus", "connect_attempts": 7, "buckets": 16,
                "max_value_bytes": 4096, "max_batch": 100, "feed": false, "command_spans": true,
                "command_durations": true}"#,
        )
        .unwrap();
        assert_eq!(config.to_string(), "redis+cluster://svc@one:6379,two:7001");
        assert_eq!(config.credentials.fixed().unwrap().secret(), "hunter2");
        assert_eq!(config.ping_every, Duration::from_secs(90));
        assert_eq!((config.connect_attempts, config.max_batch), (7, 100));
        assert!(!config.has_feed && config.command_spans && config.command_durations);
        let sentinels = read(
            r#"{"url": ["redis+sentinel://svc@one/main", "redis://two"], "sentinel_password": "hunter2",
                "sentinel_tls": false}"#,
        )
        .unwrap();
        assert_eq!(sentinels.to_string(), "redis+sentinel://svc@one:26379,two:26379/main");
        assert_eq!(sentinels.sentinel.credentials, Some(crate::Credentials::password("hunter2")));
        let defaults = RedisConfig::standalone("redis://host").unwrap();
        assert_eq!(format!("{:?}", read(r#"{"url": "redis://host"}"#).unwrap()), format!("{defaults:?}"));
    }

    #[test]
    fn what_is_wrong_is_named_and_no_secret_is_repeated() {
        for (says, json) in [
            ("`url` is missing", r"{}"),
            ("`url`", r#"{"url": "redis://svc:sesame@host/7"}"#),
            ("`url`", r#"{"url": []}"#),
            ("a URL", r#"{"url": 12345}"#),
            ("text", r#"{"url": ["redis://one", 12345]}"#),
            ("text", r#"{"url": "redis://host", "password": 12345}"#),
            ("text", r#"{"url": "redis://host", "password": 12345.5}"#),
            ("text", r#"{"url": "redis://host", "password": ["sesame", "sesame"]}"#),
            ("`password`", r#"{"url": "redis://:sesame@host", "password": "sesame"}"#),
            ("text", r#"{"url": "redis+sentinel://host/main", "sentinel_password": 12345}"#),
            ("is no time", r#"{"url": "redis://host", "deadline": "soon"}"#),
            ("`deadline`", r#"{"url": "redis://host", "deadline": "0s"}"#),
            ("`ping_every`", r#"{"url": "redis://host", "ping_every": "2h"}"#),
            ("\"bus\"", r#"{"url": "redis://host", "invalidation": "radio"}"#),
            ("unknown field `deadlnie`", r#"{"url": "redis://host", "deadlnie": "1s"}"#),
            ("`buckets`", r#"{"url": "redis://host", "buckets": 0}"#),
        ] {
            let error = read(json).unwrap_err().to_string();
            assert!(error.contains(says), "{json}: {error}");
            assert!(!error.contains("sesame") && !error.contains("12345"), "{error}");
        }
    }
}
