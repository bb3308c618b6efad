//! What can be connected to.

use stanchion::Result;

use super::settings::RedisConfig;

/// What [`RedisBackend::connect`](crate::RedisBackend::connect) takes: a URL or a [`RedisConfig`].
///
/// A URL whose scheme is `redis+cluster` or `rediss+cluster` names a node of a Cluster.
pub trait IntoRedisConfig {
    /// The settings.
    ///
    /// # Errors
    /// Those of [`RedisConfig::standalone`] and [`RedisConfig::cluster`].
    fn into_redis_config(self) -> Result<RedisConfig>;
}

impl IntoRedisConfig for RedisConfig {
    fn into_redis_config(self) -> Result<RedisConfig> {
        Ok(self)
    }
}

impl IntoRedisConfig for &str {
    fn into_redis_config(self) -> Result<RedisConfig> {
        match self.split_once("+cluster://") {
            Some((scheme, rest)) => RedisConfig::cluster([format!("{scheme}://{rest}").as_str()]),
            None => RedisConfig::standalone(self),
        }
    }
}

impl IntoRedisConfig for &String {
    fn into_redis_config(self) -> Result<RedisConfig> {
        self.as_str().into_redis_config()
    }
}

impl IntoRedisConfig for String {
    fn into_redis_config(self) -> Result<RedisConfig> {
        self.as_str().into_redis_config()
    }
}

#[cfg(test)]
mod tests {
    use stanchion::ErrorKind;

    use super::*;

    #[test]
    fn a_url_is_read_or_refused_without_its_password() {
        let config = "redis://user:hunter2@example.org:7000".into_redis_config().unwrap();
        assert!(!format!("{config:?}").contains("hunter2"));
        assert!(format!("{config:?}").contains("example.org:7000"));
        assert!("redis+cluster://localhost".into_redis_config().unwrap().cluster);
        for bad in
            ["", "localhost", "http://user:hunter2@host", "redis://user:hunter2@host/7", "redis://h:hunter2x"]
        {
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
}
