//! The table of defaults is that of the code.

use std::collections::BTreeMap;
use std::fmt::Display;

use super::super::bounds::{self, Numbers, Times, human};
use super::*;

/// The columns of each row of the table at [`RedisConfig`], by the setting's name.
fn table() -> BTreeMap<&'static str, (&'static str, &'static str)> {
    let rows = include_str!("../settings.rs").lines().filter_map(|line| line.strip_prefix("/// | "));
    rows.filter_map(|row| {
        let columns: Vec<_> = row.split('|').map(str::trim).collect();
        let name = columns[0].strip_prefix("[`").or_else(|| columns[0].strip_prefix('`'))?;
        Some((name.split('`').next()?, (columns[1], columns[2])))
    })
    .collect()
}

fn times((least, most): Times) -> String {
    format!("{} to {}", human(least), human(most))
}

fn numbers((least, most): Numbers) -> String {
    format!("{least} to {most}")
}

fn or_none<T: Display>(value: Option<&T>) -> String {
    value.map_or_else(|| "none".to_owned(), ToString::to_string)
}

#[test]
fn the_table_is_that_of_the_code() {
    let config = RedisConfig::standalone("redis://localhost").unwrap();
    let name = "a [`Name`]: 1 to 64 bytes of `[a-z0-9_-]`";
    let deployment = "one value for the whole deployment";
    assert!(matches!(config.credentials, Source::None) && config.environment.is_none());
    assert_eq!(config.invalidation, Invalidation::Tracking);
    let code: Vec<(&str, String, String)> = vec![
        ("credentials", "those of the URL".into(), String::new()),
        ("credentials_provider", "none".into(), String::new()),
        ("sentinel_credentials", or_none(config.sentinel.credentials.as_ref().map(|_| &"")), String::new()),
        (
            "sentinel_tls",
            config.sentinel.tls.map_or("as the URL".into(), |tls| tls.to_string()),
            String::new(),
        ),
        ("client_name", or_none(config.client_name.as_ref()), name.into()),
        ("prefix", or_none(config.prefix.as_ref()), name.into()),
        ("deadline", human(config.deadline), times(bounds::DEADLINE)),
        ("cache_deadline", human(config.cache_deadline), times(bounds::DEADLINE)),
        ("ping_every", human(config.ping_every), times(bounds::PING_EVERY)),
        ("invalidation", "[`Tracking`](Invalidation::Tracking)".into(), deployment.into()),
        ("connect_attempts", config.connect_attempts.to_string(), numbers(bounds::CONNECT_ATTEMPTS)),
        ("buckets", config.buckets.to_string(), format!("1 to 16384; {deployment}, for good")),
        ("max_value_bytes", config.max_value_bytes.to_string(), numbers(bounds::MAX_VALUE_BYTES)),
        ("max_batch", config.max_batch.to_string(), numbers(bounds::MAX_BATCH)),
        ("feed", config.has_feed.to_string(), String::new()),
        ("command_spans", config.command_spans.to_string(), String::new()),
        ("command_durations", config.command_durations.to_string(), String::new()),
        ("environment", "[`Environment::system`]".into(), String::new()),
        ("root_certificate", "Mozilla's list".into(), "PEM, one certificate or more".into()),
        ("client_certificate", "none".into(), "PEM, a certificate chain and its private key".into()),
    ];
    let code: BTreeMap<_, _> =
        code.iter().map(|(name, default, bounds)| (*name, (default.as_str(), bounds.as_str()))).collect();
    assert_eq!(table(), code);
}

#[test]
fn settings_are_checked() {
    let config = || RedisConfig::standalone("redis://localhost").unwrap();
    assert!(config().prefix("with{brace").is_err());
    assert!(config().client_name("two words").is_err());
    assert!(config().buckets(0).is_err());
    assert!(config().buckets(16_385).is_err());
    assert!(RedisConfig::cluster([]).is_err());
    assert!(RedisConfig::standalone("redis+cluster://one").is_err());
    assert!(RedisConfig::standalone("redis+sentinel://one/main").is_err());
    assert!(RedisConfig::cluster(["redis+sentinel://one/main"]).is_err());
}

#[test]
fn the_nodes_of_a_cluster_have_one_user() {
    let cluster = |second| RedisConfig::cluster(["redis://svc:sesame@one", second]);
    assert!(cluster("redis://two").is_ok() && cluster("redis://svc:sesame@two").is_ok());
    for second in ["redis://other:sesame@two", "redis://svc:sesame2@two"] {
        let error = cluster(second).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
    }
    assert!(RedisConfig::cluster(["redis://one", "redis://svc:sesame@two"]).is_err(), "the first has none");
}
