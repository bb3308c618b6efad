//! Reading URLs without repeating their passwords.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};
use stanchion::{Error, ErrorKind, Result};

/// Where a URL leads, and the credentials in it.
pub(super) fn parse(url: &str) -> Result<ConnectionInfo> {
    check_scheme(url, cfg!(feature = "tls"))?;
    // The URL may hold a password, and so may the client's message: neither is repeated.
    let wrong = |why: &str| {
        Error::new(ErrorKind::Config, format!("not a Redis URL: {why}; redis://host:port is one"))
    };
    let info = url.into_connection_info().map_err(|_| wrong("it can't be read"))?;
    if info.redis_settings().db() != 0 {
        return Err(wrong("it names a database other than 0, where keys are kept apart by name"));
    }
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(wrong("`#insecure` is not supported: a server's certificate is always checked"));
    }
    Ok(info)
}

/// Refuses TLS where it is not built in: the client's own words would not say what is missing.
fn check_scheme(url: &str, has_tls: bool) -> Result<()> {
    let scheme = url.split_once("://").map_or("", |(scheme, _)| scheme);
    if !has_tls && ["rediss", "valkeys"].iter().any(|tls| scheme.eq_ignore_ascii_case(tls)) {
        let missing = "TLS (rediss://) is not built in: it is the feature `tls` of stanchion-redis";
        return Err(Error::new(ErrorKind::Config, missing));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_is_refused_by_the_name_of_its_feature_where_it_is_not_built_in() {
        for url in ["rediss://user:hunter2@host", "REDISS://user:hunter2@host", "valkeys://user:hunter2@host"]
        {
            let error = check_scheme(url, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(error.to_string().contains("feature `tls`"), "{error}");
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{url}");
            assert!(check_scheme(url, true).is_ok(), "{url}");
        }
        for url in ["redis://host", "valkey://host", "redis://rediss:rediss@rediss", "rediss", ""] {
            assert!(check_scheme(url, false).is_ok(), "{url}");
        }
    }
}
