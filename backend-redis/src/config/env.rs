//! Settings from the environment.

use std::str::FromStr;

use stanchion::{Error, ErrorKind, Result};

use super::fields::{Fields, Unusable, time};
use super::invalidation::Invalidation;
use super::settings::RedisConfig;

impl RedisConfig {
    /// The settings in the environment, in variables that begin with this and an underscore; `STANCHION_REDIS`, say. A variable
    /// that is not there, or is empty, leaves the default.
    ///
    /// | variable | what it holds |
    /// |---|---|
    /// | `…_URL` | a [URL](#impl-FromStr-for-RedisConfig); must be there |
    /// | `…_USERNAME` | the user, if the URL names none |
    /// | `…_PASSWORD` | the password, if the URL has none |
    /// | `…_SENTINEL_USERNAME`, `…_SENTINEL_PASSWORD` | [`sentinel_credentials`](Self::sentinel_credentials) |
    /// | `…_SENTINEL_TLS` | [`sentinel_tls`](Self::sentinel_tls): `true` or `false` |
    /// | `…_CLIENT_NAME` | [`client_name`](Self::client_name) |
    /// | `…_PREFIX` | [`prefix`](Self::prefix) |
    /// | `…_DEADLINE` | [`deadline`](Self::deadline), as `500ms`, `5s` or `1m 30s` |
    /// | `…_CACHE_DEADLINE` | [`cache_deadline`](Self::cache_deadline), likewise |
    /// | `…_PING_EVERY` | [`ping_every`](Self::ping_every), likewise |
    /// | `…_INVALIDATION` | [`invalidation`](Self::invalidation): `tracking` or `bus` |
    /// | `…_CONNECT_ATTEMPTS` | [`connect_attempts`](Self::connect_attempts) |
    /// | `…_BUCKETS` | [`buckets`](Self::buckets) |
    /// | `…_MAX_VALUE_BYTES` | [`max_value_bytes`](Self::max_value_bytes) |
    /// | `…_MAX_BATCH` | [`max_batch`](Self::max_batch) |
    /// | `…_FEED` | [`feed`](Self::feed): `true` or `false` |
    /// | `…_COMMAND_SPANS` | [`command_spans`](Self::command_spans), likewise |
    /// | `…_COMMAND_DURATIONS` | [`command_durations`](Self::command_durations), likewise |
    /// | `…_ROOT_CERTIFICATE_FILE` | a PEM file, read at each connect (feature `tls`) |
    /// | `…_CLIENT_CERTIFICATE_FILE`, `…_CLIENT_KEY_FILE` | PEM files, likewise |
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config), naming the variable, for one that can't be read, is [out of bounds](Self::check) or missing.
    /// URLs, passwords and keys are not repeated.
    pub fn from_env(prefix: &str) -> Result<Self> {
        Self::from_variables(prefix, |name| std::env::var_os(name))
    }

    pub(super) fn from_variables(
        prefix: &str,
        variable: impl Fn(&str) -> Option<std::ffi::OsString>,
    ) -> Result<Self> {
        let named = |setting: &str| format!("{prefix}_{}", setting.to_uppercase());
        let unusable = |Unusable { setting, why }: Unusable| {
            Error::new(ErrorKind::Config, format!("the variable {} {why}", named(setting)))
        };
        let text = |setting| match variable(&named(setting)).filter(|value| !value.is_empty()) {
            None => Ok(None),
            Some(value) => match value.into_string() {
                Ok(text) => Ok(Some(text)),
                Err(_) => Err(unusable(Unusable::new(setting, "is not valid UTF-8"))),
            },
        };
        let times = |setting| {
            let wanted = "is no time such as 500ms, 5s or 1m 30s";
            read(text(setting)?, time).map_err(|()| unusable(Unusable::new(setting, wanted)))
        };
        let truth = |setting| {
            parsed::<bool>(text(setting)?)
                .map_err(|()| unusable(Unusable::new(setting, "is neither `true` nor `false`")))
        };
        let no_number = |setting| move |()| unusable(Unusable::new(setting, "is no number that it may be"));
        let file = |setting| Ok::<_, Error>(text(setting)?.map(Into::into));
        let invalidation = "invalidation";
        let fields = Fields {
            url: text("url")?.into_iter().collect(),
            username: text("username")?,
            password: text("password")?,
            sentinel_username: text("sentinel_username")?,
            sentinel_password: text("sentinel_password")?,
            sentinel_tls: truth("sentinel_tls")?,
            client_name: text("client_name")?,
            prefix: text("prefix")?,
            deadline: times("deadline")?,
            cache_deadline: times("cache_deadline")?,
            ping_every: times("ping_every")?,
            invalidation: read(text(invalidation)?, Invalidation::named)
                .map_err(|()| unusable(Unusable::new(invalidation, "is neither `tracking` nor `bus`")))?,
            connect_attempts: parsed(text("connect_attempts")?).map_err(no_number("connect_attempts"))?,
            buckets: parsed(text("buckets")?).map_err(no_number("buckets"))?,
            max_value_bytes: parsed(text("max_value_bytes")?).map_err(no_number("max_value_bytes"))?,
            max_batch: parsed(text("max_batch")?).map_err(no_number("max_batch"))?,
            feed: truth("feed")?,
            command_spans: truth("command_spans")?,
            command_durations: truth("command_durations")?,
            root_certificate_file: file("root_certificate_file")?,
            client_certificate_file: file("client_certificate_file")?,
            client_key_file: file("client_key_file")?,
        };
        fields.into_config().map_err(unusable)
    }
}

fn read<T>(text: Option<String>, read: impl Fn(&str) -> Option<T>) -> Result<Option<T>, ()> {
    text.map(|text| read(text.trim()).ok_or(())).transpose()
}

fn parsed<T: FromStr>(text: Option<String>) -> Result<Option<T>, ()> {
    read(text, |text| text.parse().ok())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::ffi::OsString;
    use std::sync::Mutex;
    use std::time::Duration;

    use super::*;

    fn read_from(variables: &[(&str, &str)]) -> Result<RedisConfig> {
        RedisConfig::from_variables("APP_REDIS", |name| {
            let found = variables.iter().find(|(known, _)| name.strip_prefix("APP_REDIS_") == Some(known));
            found.map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn each_variable_sets_its_setting_and_an_empty_one_none() {
        let config = read_from(&[
            ("URL", "redis+cluster://svc@one:7000,two:7001"),
            ("PASSWORD", "hunter2"),
            ("CLIENT_NAME", "orders"),
            ("PREFIX", "staging"),
            ("DEADLINE", "500ms"),
            ("CACHE_DEADLINE", " 50 ms "),
            ("PING_EVERY", "1m 30s"),
            ("INVALIDATION", "bus"),
            ("CONNECT_ATTEMPTS", "7"),
            ("BUCKETS", "16"),
            ("MAX_VALUE_BYTES", "4096"),
            ("MAX_BATCH", "100"),
            ("FEED", "false"),
            ("COMMAND_SPANS", "true"),
            ("COMMAND_DURATIONS", "true"),
            ("USERNAME", ""),
        ])
        .unwrap();
        assert_eq!(config.to_string(), "redis+cluster://svc@one:7000,two:7001");
        assert_eq!(config.credentials.fixed().unwrap().secret(), "hunter2");
        assert_eq!(config.client_name.as_ref().unwrap().to_string(), "orders");
        assert_eq!(config.prefix.as_ref().unwrap().to_string(), "staging");
        assert_eq!(config.deadline, Duration::from_millis(500));
        assert_eq!(config.cache_deadline, Duration::from_millis(50));
        assert_eq!(config.ping_every, Duration::from_secs(90));
        assert_eq!(config.invalidation, Invalidation::Bus);
        assert_eq!((config.connect_attempts, config.buckets), (7, 16));
        assert_eq!((config.max_value_bytes, config.max_batch), (4_096, 100));
        assert!(!config.has_feed && config.command_spans && config.command_durations);

        let sentinels = read_from(&[
            ("URL", "redis+sentinel://one,two/main"),
            ("USERNAME", "svc"),
            ("SENTINEL_USERNAME", "watcher"),
            ("SENTINEL_PASSWORD", "hunter2"),
            ("SENTINEL_TLS", "false"),
        ]);
        let sentinels = sentinels.unwrap();
        assert_eq!(sentinels.to_string(), "redis+sentinel://svc@one:26379,two:26379/main");
        let watcher = crate::Credentials::new("watcher", "hunter2");
        assert_eq!((sentinels.sentinel.credentials, sentinels.sentinel.tls), (Some(watcher), Some(false)));

        let defaults = RedisConfig::standalone("redis://host").unwrap();
        assert_eq!(format!("{:?}", read_from(&[("URL", "redis://host")]).unwrap()), format!("{defaults:?}"));
    }

    #[test]
    fn what_is_wrong_names_the_variable_and_not_what_it_holds() {
        let url = ("URL", "redis://host");
        for (variable, variables) in [
            ("APP_REDIS_URL", vec![]),
            ("APP_REDIS_URL", vec![("URL", "redis://svc:sesame@host/7")]),
            ("APP_REDIS_URL", vec![("URL", "sesame")]),
            ("APP_REDIS_USERNAME", vec![("URL", "redis://svc@host"), ("USERNAME", "sesame")]),
            ("APP_REDIS_PASSWORD", vec![("URL", "redis://:pw@host"), ("PASSWORD", "sesame")]),
            ("APP_REDIS_DEADLINE", vec![url, ("DEADLINE", "sesame")]),
            ("APP_REDIS_DEADLINE", vec![url, ("DEADLINE", "5")]),
            ("APP_REDIS_DEADLINE", vec![url, ("DEADLINE", "-5s")]),
            ("APP_REDIS_DEADLINE", vec![url, ("DEADLINE", "0s")]),
            ("APP_REDIS_CACHE_DEADLINE", vec![url, ("CACHE_DEADLINE", "2h")]),
            ("APP_REDIS_PING_EVERY", vec![url, ("PING_EVERY", "1ms")]),
            ("APP_REDIS_INVALIDATION", vec![url, ("INVALIDATION", "sesame")]),
            ("APP_REDIS_CONNECT_ATTEMPTS", vec![url, ("CONNECT_ATTEMPTS", "0")]),
            ("APP_REDIS_BUCKETS", vec![url, ("BUCKETS", "70000")]),
            ("APP_REDIS_BUCKETS", vec![url, ("BUCKETS", "0")]),
            ("APP_REDIS_MAX_VALUE_BYTES", vec![url, ("MAX_VALUE_BYTES", "1MiB")]),
            ("APP_REDIS_MAX_BATCH", vec![url, ("MAX_BATCH", "0")]),
            ("APP_REDIS_FEED", vec![url, ("FEED", "yes")]),
            ("APP_REDIS_SENTINEL_PASSWORD", vec![url, ("SENTINEL_PASSWORD", "sesame")]),
            ("APP_REDIS_SENTINEL_USERNAME", vec![url, ("SENTINEL_USERNAME", "sesame")]),
            ("APP_REDIS_SENTINEL_TLS", vec![url, ("SENTINEL_TLS", "yes")]),
            ("APP_REDIS_SENTINEL_TLS", vec![url, ("SENTINEL_TLS", "true")]),
            ("APP_REDIS_CLIENT_NAME", vec![url, ("CLIENT_NAME", "two words")]),
            ("APP_REDIS_PREFIX", vec![url, ("PREFIX", "a:b")]),
            ("APP_REDIS_ROOT_CERTIFICATE_FILE", vec![url, ("ROOT_CERTIFICATE_FILE", "/no/such/file")]),
            ("APP_REDIS_CLIENT_", vec![url, ("CLIENT_KEY_FILE", "/no/such/file")]),
            (
                "APP_REDIS_ROOT_CERTIFICATE_FILE",
                vec![url, ("ROOT_CERTIFICATE_FILE", "-----BEGIN CERTIFICATE-----\nsesame\n")],
            ),
        ] {
            let error = read_from(&variables).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{variables:?}");
            assert!(error.to_string().contains(variable), "{variables:?}: {error}");
            assert!(!format!("{error} {error:?}").contains("sesame"), "{error:?}");
        }
    }

    /// The table at `from_env` has the variables that are read, and no others.
    #[test]
    fn the_table_of_variables_is_that_of_the_code() {
        let read = Mutex::new(BTreeSet::new());
        let _ = RedisConfig::from_variables("", |name| {
            read.lock().unwrap().insert(name.to_owned());
            None
        });
        let rows = include_str!("env.rs").lines().filter_map(|line| line.trim().strip_prefix("/// | `…"));
        let documented: BTreeSet<String> = rows
            .flat_map(|row| row.split('|').next().unwrap().split('`'))
            .map(|name| name.trim_start_matches('…'))
            .filter(|name| name.starts_with('_'))
            .map(ToOwned::to_owned)
            .collect();
        assert_eq!(documented, read.into_inner().unwrap());
    }
}
