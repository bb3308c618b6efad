//! A master that is found by sentinels.

use redis::{ConnectionAddr, ConnectionInfo};
use stanchion::{Error, ErrorKind, Result};

use super::bounds::OutOfBounds;
use super::settings::RedisConfig;
use super::url::{check_master, parse_sentinels};
use crate::credentials::Credentials;

impl RedisConfig {
    /// A master of this name, which sentinels watch over, by the [URLs](#impl-FromStr-for-RedisConfig) of some of these:
    /// `redis://host:port`, with port 26379 unless it is there. The others are discovered.
    ///
    /// User and password in the first URL are those of the master, and so are all other settings; those of the sentinels are
    /// [`sentinel_credentials`](Self::sentinel_credentials). With TLS (`rediss://`) both are reached by it, unless
    /// [`sentinel_tls`](Self::sentinel_tls) says otherwise. The master is reached by the address that the sentinels give.
    ///
    /// ```
    /// use stanchion_redis::{Credentials, RedisConfig};
    ///
    /// # fn main() -> stanchion::Result<()> {
    /// let config = RedisConfig::sentinel("main", ["redis://svc:secret@10.0.0.1", "redis://10.0.0.2"])?
    ///     .sentinel_credentials(Credentials::password("another"));
    /// assert_eq!(config.to_string(), "redis+sentinel://svc@10.0.0.1:26379,10.0.0.2:26379/main");
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Config`](ErrorKind::Config) as [`standalone`](Self::standalone), if there is no URL, if they name different users or
    /// passwords, or another master, and for a name that is empty, longer than 255 bytes or has blanks.
    pub fn sentinel<'a>(master: &str, urls: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        check_master(master)?;
        let wrong = |why: &str| Error::new(ErrorKind::Config, why);
        let (mut addresses, mut credentials) = (Vec::new(), None);
        for (at, url) in urls.into_iter().enumerate() {
            let parsed = parse_sentinels(url)?;
            if parsed.master.is_some_and(|named| named != master) {
                return Err(wrong("the URLs of sentinels name another master"));
            }
            addresses.extend(parsed.addresses);
            if at == 0 {
                credentials = parsed.credentials;
            } else if parsed.credentials.is_some() && parsed.credentials != credentials {
                return Err(wrong(
                    "the user in the URLs of sentinels is that of the master: put it into the first",
                ));
            }
        }
        let Some(first) = addresses.first() else {
            return Err(wrong("a master that sentinels watch needs the URL of at least one"));
        };
        if addresses.iter().any(|other| has_tls(other) != has_tls(first)) {
            return Err(wrong("of the URLs of sentinels either all have TLS or none"));
        }
        let mut config = Self::new(addresses, false, credentials);
        config.sentinel.master = Some(master.into());
        Ok(config)
    }

    /// As this user at the sentinels, which know other users than the master. None unless set: user and password in the URL
    /// are the master's alone.
    #[must_use]
    pub fn sentinel_credentials(mut self, credentials: Credentials) -> Self {
        self.sentinel.credentials = Some(credentials);
        self
    }

    /// Whether the sentinels are reached by TLS (feature `tls`); as the URL says of the master unless set. They are trusted
    /// by the same roots, and shown the same certificate.
    #[must_use]
    pub const fn sentinel_tls(mut self, wanted: bool) -> Self {
        self.sentinel.tls = Some(wanted);
        self
    }

    /// Whether any connection may be by TLS.
    #[cfg(feature = "tls")]
    pub(super) fn uses_tls(&self) -> bool {
        self.sentinel.tls == Some(true) || self.addresses.iter().all(has_tls)
    }

    /// What is set of sentinels where there are none, or what this build can't do.
    pub(super) fn sentinel_out_of_bounds(&self) -> Option<OutOfBounds> {
        let settings = &self.sentinel;
        let useless = || "is of use with sentinels only: redis+sentinel://host:port/name".to_owned();
        let without = settings.master.is_none();
        if without && settings.credentials.is_some() {
            return Some(OutOfBounds { setting: "sentinel_credentials", what: useless() });
        }
        if without && settings.tls.is_some() {
            return Some(OutOfBounds { setting: "sentinel_tls", what: useless() });
        }
        let unsupported = settings.tls == Some(true) && !cfg!(feature = "tls");
        let what = || "needs the feature `tls` of stanchion-redis".to_owned();
        unsupported.then(|| OutOfBounds { setting: "sentinel_tls", what: what() })
    }
}

fn has_tls(info: &ConnectionInfo) -> bool {
    matches!(info.addr(), ConnectionAddr::TcpTls { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_urls_of_sentinels_agree() {
        let sentinel = |urls: &[&'static str]| RedisConfig::sentinel("main", urls.iter().copied());
        for urls in [
            &["redis://one", "redis://two"][..],
            &["redis://svc:sesame@one", "redis://two"],
            &["redis+sentinel://svc:sesame@one,three/main", "redis://svc:sesame@two"],
        ] {
            assert!(sentinel(urls).unwrap().check().is_ok(), "{urls:?}");
        }
        for urls in [
            &[][..],
            &["redis://one", "redis://svc:sesame@two"],
            &["redis://svc:sesame@one", "redis://svc:sesame2@two"],
            &["redis+sentinel://one/other"],
            &["redis+cluster://one"],
            &["redis+unix:///run/sesame.sock"],
        ] {
            let error = sentinel(urls).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{urls:?}");
            assert!(!format!("{error:?}").contains("sesame"), "{error:?}");
        }
        if cfg!(feature = "tls") {
            assert!(sentinel(&["rediss://one", "redis://two"]).is_err());
        }
        assert!(RedisConfig::sentinel("two words", ["redis://one"]).is_err());
    }

    #[test]
    fn what_is_set_of_sentinels_is_checked_and_no_password_shown() {
        let sentinels = || RedisConfig::sentinel("main", ["redis://one"]).unwrap();
        let standalone = || RedisConfig::standalone("redis://one").unwrap();
        let secret = || Credentials::new("watcher", "sesame");
        let shown = format!("{0:?} {0:#?} {0}", sentinels().sentinel_credentials(secret()));
        assert!(shown.contains("watcher") && !shown.contains("sesame"), "{shown}");
        assert!(sentinels().sentinel_credentials(secret()).sentinel_tls(false).check().is_ok());
        assert_eq!(sentinels().sentinel_tls(true).check().is_ok(), cfg!(feature = "tls"));
        for (setting, config) in [
            ("sentinel_credentials", standalone().sentinel_credentials(secret())),
            ("sentinel_tls", standalone().sentinel_tls(false)),
        ] {
            let error = config.check().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config);
            assert!(error.to_string().contains(setting), "{error}");
        }
    }
}
