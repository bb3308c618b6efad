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
    /// What sentinels call the master, in their form.
    pub(super) master: Option<String>,
}

/// What is at the addresses of a URL, by its scheme.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// `redis`, `valkey`, and `rediss`, `valkeys` with TLS; `redis+unix`, `valkey+unix` and `unix` for a socket.
    Standalone,
    /// The first four with `+cluster`.
    Cluster,
    /// The first four with `+sentinel`; the path is the name of the master.
    Sentinel,
}

/// Where a sentinel listens unless it is set otherwise.
const SENTINEL_PORT: u16 = 26_379;

/// Reads a URL; of a Cluster's there may be several hosts in it: `redis+cluster://user:password@one:7000,two:7001`.
pub(super) fn parse(url: &str) -> Result<Parsed> {
    let (scheme, rest) = split(url)?;
    match scheme.split_once('+') {
        Some((scheme, "cluster")) => read(scheme, rest, Form::Cluster),
        Some((_, "sentinel")) => parse_sentinels(url),
        _ => read(&scheme, rest, Form::Standalone),
    }
}

/// Reads the URL of one sentinel or several: in their own form, or in that of a server, without the name of a master.
pub(super) fn parse_sentinels(url: &str) -> Result<Parsed> {
    let (scheme, rest) = split(url)?;
    let (scheme, rest, master) = match scheme.split_once('+') {
        Some((scheme, "sentinel")) => {
            let (rest, master) = without_master(rest)?;
            (scheme, rest, Some(master))
        }
        _ => (scheme.as_str(), rest.to_owned(), None),
    };
    Ok(Parsed { master, ..read(scheme, &rest, Form::Sentinel)? })
}

fn split(url: &str) -> Result<(String, &str)> {
    let (scheme, rest) = url.split_once("://").ok_or_else(|| wrong("it has no scheme"))?;
    Ok((scheme.to_ascii_lowercase(), rest))
}

fn read(scheme: &str, rest: &str, form: Form) -> Result<Parsed> {
    check_scheme(scheme, cfg!(feature = "tls"))?;
    let infos = match form {
        Form::Standalone => vec![one(scheme, rest)?],
        Form::Cluster | Form::Sentinel => {
            let port = (form == Form::Sentinel).then_some(SENTINEL_PORT);
            let hosts = each_host(rest, port);
            hosts.iter().map(|rest| one(scheme, rest)).collect::<Result<Vec<ConnectionInfo>>>()?
        }
    };
    if form != Form::Standalone && infos.iter().any(|info| host(info).is_none()) {
        return Err(wrong("the nodes of a Cluster, and sentinels, are reached by the network"));
    }
    let credentials = infos.first().and_then(|info| Credentials::of(info.redis_settings()));
    let bare = |info: ConnectionInfo| info.set_redis_settings(RedisConnectionInfo::default());
    Ok(Parsed { form, addresses: infos.into_iter().map(bare).collect(), credentials, master: None })
}

/// The path of `user:password@one,two/name?parameters`, and the rest.
fn without_master(rest: &str) -> Result<(String, String)> {
    let missing = || wrong("it lacks the name of the master: redis+sentinel://host:port/name is one");
    let end = rest.find(['?', '#']).unwrap_or(rest.len());
    let (before, after) = rest.split_at(end);
    let (hosts, name) = before.split_once('/').ok_or_else(missing)?;
    let name = name.trim_end_matches('/');
    // A password that is not escaped would end at its `/`, and the rest of it be shown as the name.
    if name.contains(['/', '@']) {
        return Err(wrong(
            "`/` and `@` in a password, or in the name of the master, have to be percent-escaped",
        ));
    }
    let name = unescaped(name).ok_or_else(|| wrong("the name of the master can't be read"))?;
    if name.is_empty() {
        return Err(missing());
    }
    check_master(&name)?;
    Ok((format!("{hosts}{after}"), name))
}

/// What sentinels may call a master: their messages have blanks between what they name.
pub(super) fn check_master(name: &str) -> Result<()> {
    if name.is_empty() || name.len() > 255 || name.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let wrong = "the name of a master that sentinels watch is 1 to 255 bytes long, without blanks";
        return Err(Error::new(ErrorKind::Config, wrong));
    }
    Ok(())
}

/// Without percent escapes; `None` for one that is none, and for what is no UTF-8.
fn unescaped(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        bytes.push(*byte);
        if *byte == b'%' {
            let (digits, after) = rest.split_at_checked(2)?;
            let digits = std::str::from_utf8(digits).ok().filter(|digits| !digits.starts_with('+'))?;
            bytes.pop();
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = after;
        }
    }
    String::from_utf8(bytes).ok()
}

/// `user:password@one:1,two:2/path` is that of each host with all the rest; a host without a port has this one.
fn each_host(rest: &str, port: Option<u16>) -> Vec<String> {
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    let port = |host: &str| match port {
        Some(port) if !host.is_empty() && (host.ends_with(']') || !host.contains(':')) => format!(":{port}"),
        _ => String::new(),
    };
    hosts.split(',').map(|host| format!("{user}{host}{}{path}", port(host))).collect()
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
        return Err(wrong(
            "only a Cluster (redis+cluster://) and sentinels (redis+sentinel://) have several hosts",
        ));
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
            ("redis+sentinel://host/main", Form::Sentinel),
            ("valkey+sentinel://one,two/main?protocol=resp3", Form::Sentinel),
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
            "redis+sentinel://host",
            "redis+sentinel://:hunter2@host",
            "redis+sentinel://host/",
            "redis+sentinel://host/two%20words",
            "redis+sentinel://host/%zz",
            "redis+sentinel://host/%ff",
            "redis+sentinel://host/%4",
            "redis+sentinel://host/main?password=hunter2",
            "redis+sentinel:///main",
            "redis+sentinel://one,,two/main",
            "unix+sentinel:///run/redis.sock",
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
    fn sentinels_have_a_port_and_a_master_of_their_own() {
        let parsed = parse("redis+sentinel://svc:p%40ss@one:7000,two,[::1],[::1]:7002/my%2Fmain").unwrap();
        let hosts: Vec<_> = parsed.addresses.iter().map(|info| info.addr().to_string()).collect();
        assert_eq!(hosts, ["one:7000", "two:26379", "::1:26379", "::1:7002"]);
        assert_eq!(parsed.master.as_deref(), Some("my/main"));
        assert_eq!(parsed.credentials, Some(Credentials::new("svc", "p@ss")));
        let plain = parse_sentinels("redis://one").unwrap();
        assert_eq!((plain.master, plain.addresses[0].addr().to_string()), (None, "one:26379".to_owned()));
        for bad in ["", "two words", "a\tb", &"x".repeat(256)] {
            assert_eq!(check_master(bad).unwrap_err().kind(), ErrorKind::Config, "{bad}");
        }
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
