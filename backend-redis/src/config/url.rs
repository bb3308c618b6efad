//! Reading URLs without repeating their passwords.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo, RedisConnectionInfo};
use stanchion::{Error, ErrorKind, Result};

use crate::credentials::Credentials;

/// What a URL says.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) form: Form,
    /// Where it leads, without credentials; at least one.
    pub(super) addresses: Vec<ConnectionInfo>,
    pub(super) credentials: Option<Credentials>,
}

/// What is at the addresses of a URL, by its scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `redis`, `valkey`, and `rediss`, `valkeys` with TLS; `redis+unix`, `valkey+unix` and `unix` for a socket.
    Standalone,
    /// The first four with `+cluster`.
    Cluster,
}

/// Reads a URL; of a Cluster's there may be several hosts in it: `redis+cluster://user:password@one:7000,two:7001`.
pub(super) fn parse(url: &str) -> Result<Parsed> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
    let scheme = scheme.to_ascii_lowercase();
    let (scheme, form) = match scheme.split_once('+') {
        Some((scheme, "cluster")) => (scheme, Form::Cluster),
        _ => (scheme.as_str(), Form::Standalone),
    };
    check_scheme(scheme, cfg!(feature = "tls"))?;
    let infos = match form {
        Form::Standalone => vec![one(scheme, rest)?],
        Form::Cluster => {
            each_host(rest).iter().map(|rest| one(scheme, rest)).collect::<Result<Vec<ConnectionInfo>>>()?
        }
    };
    if form == Form::Cluster && infos.iter().any(|info| host(info).is_none()) {
        return Err(wrong("the nodes of a Cluster are reached by the network"));
    }
    let credentials = infos.first().and_then(|info| Credentials::of(info.redis_settings()));
    let bare = |info: ConnectionInfo| info.set_redis_settings(RedisConnectionInfo::default());
    Ok(Parsed { form, addresses: infos.into_iter().map(bare).collect(), credentials })
}

/// `user:password@one:1,two:2/path` is that of each host with all the rest.
fn each_host(rest: &str) -> Vec<String> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    hosts.split(',').map(|host| format!("{user}{host}{path}")).collect()
}

fn one(scheme: &str, rest: &str) -> Result<ConnectionInfo> {
    let url = format!("{scheme}://{rest}");
    // The URL may hold a password, and so may the client's message: neither is repeated.
    let info = url.as_str().into_connection_info().map_err(|_| wrong("it can't be read"))?;
    if info.redis_settings().db() != 0 {
        return Err(wrong("it names a database other than 0, where keys are kept apart by name"));
    }
    if matches!(info.addr(), ConnectionAddr::TcpTls { insecure: true, .. }) {
        return Err(wrong("`#insecure` is not supported: a server's certificate is always checked"));
    }
    if host(&info).is_some_and(|host| host.contains(',')) {
        return Err(wrong("only a Cluster (redis+cluster://) has several hosts"));
    }
    if host(&info).is_some() && !only_protocol(rest) {
        // A password among them would be passed over, and the service be another user.
        return Err(wrong("it has parameters (`?…`), of which there are none but `protocol=resp3`"));
    }
    Ok(info)
}

/// The host, if it is not a socket in the file system.
fn host(info: &ConnectionInfo) -> Option<&str> {
    match info.addr() {
        ConnectionAddr::Tcp(host, _) | ConnectionAddr::TcpTls { host, .. } => Some(host),
        _ => None,
    }
}

/// Whether the parameters of a URL ask for nothing but what there is.
fn only_protocol(rest: &str) -> bool {
    let before_fragment = rest.split('#').next().unwrap_or_default();
    let parameters = before_fragment.split_once('?').map_or("", |(_, parameters)| parameters);
    matches!(parameters, "" | "protocol=3" | "protocol=resp3")
}

fn wrong(why: &str) -> Error {
    Error::new(ErrorKind::Config, format!("not a Redis URL: {why}; redis://host:port is one"))
}

/// Refuses TLS where it is not built in: the client's own words would not say what is missing.
fn check_scheme(scheme: &str, has_tls: bool) -> Result<()> {
    if !has_tls && matches!(scheme, "rediss" | "valkeys") {
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
        for scheme in ["rediss", "valkeys"] {
            let error = check_scheme(scheme, false).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{scheme}");
            assert!(error.to_string().contains("feature `tls`"), "{error}");
            assert!(check_scheme(scheme, true).is_ok(), "{scheme}");
        }
        for scheme in ["redis", "valkey", "unix", ""] {
            assert!(check_scheme(scheme, false).is_ok(), "{scheme}");
        }
    }

    #[test]
    fn a_scheme_says_what_is_there() {
        for (url, form) in [
            ("redis://host", Form::Standalone),
            ("REDIS://host", Form::Standalone),
            ("valkey://host:1", Form::Standalone),
            ("redis://host/0?protocol=resp3", Form::Standalone),
            ("redis+unix:///run/redis.sock", Form::Standalone),
            ("unix:///run/redis.sock", Form::Standalone),
            ("redis+cluster://host", Form::Cluster),
            ("valkey+cluster://host", Form::Cluster),
            ("Redis+Cluster://host", Form::Cluster),
        ] {
            assert_eq!(parse(url).unwrap().form, form, "{url}");
        }
        for url in [
            "redis",
            "http://host",
            "redis+other://host",
            "redis://",
            "redis://one,two",
            "redis://one:1,two:2",
            "redis://host?password=hunter2",
            "redis://host?protocol=2",
            "redis+cluster://one:1,,two:2",
            "unix+cluster:///run/redis.sock",
        ] {
            let error = parse(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Config, "{url}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn a_cluster_has_several_hosts_with_one_user() {
        let parsed = parse("redis+cluster://svc:p%40ss@one:7000,two,[::1]:7002/0").unwrap();
        let hosts: Vec<_> = parsed.addresses.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(hosts, ["one:7000", "two:6379", "::1:7002"]);
        assert_eq!(parsed.credentials, Some(Credentials::new("svc", "p@ss")));
        assert!(parsed.addresses.iter().all(|info| info.redis_settings().password().is_none()));
    }

    #[test]
    fn a_user_is_that_user_also_without_a_password() {
        for (url, credentials) in [
            ("redis://svc@host", Some(Credentials::new("svc", ""))),
            ("redis://svc:@host", Some(Credentials::new("svc", ""))),
            ("redis://:pw@host", Some(Credentials::password("pw"))),
            ("redis+unix:///run/redis.sock?user=svc&pass=pw", Some(Credentials::new("svc", "pw"))),
            ("redis://host", None),
            ("redis://:@host", None),
        ] {
            assert_eq!(parse(url).unwrap().credentials, credentials, "{url}");
        }
    }
}
