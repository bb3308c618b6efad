//! Why no sentinel names a master.

use stanchion::{Error, ErrorKind};

use super::decision::Address;

/// Of each sentinel its error; `None` of one that watches no master of the name.
pub(super) fn of(name: &str, failed: &[(Address, Option<Error>)]) -> Error {
    let causes: Vec<_> =
        failed.iter().filter_map(|((host, port), error)| Some((host, port, error.as_ref()?))).collect();
    // What an operator has to mend comes first.
    for kind in [ErrorKind::Config, ErrorKind::Denied] {
        if let Some((host, port, error)) = causes.iter().find(|(_, _, error)| error.kind() == kind) {
            let hint = match kind {
                ErrorKind::Denied => {
                    "; sentinels have users of their own (RedisConfig::sentinel_credentials): those in the URL are the master's"
                }
                _ => "",
            };
            let why = format!("the sentinel {host}:{port}: {error}{hint}");
            return Error::new(kind, why).with_source((*error).clone());
        }
    }
    let unknown: Vec<_> = failed
        .iter()
        .filter(|(_, error)| error.is_none())
        .map(|((host, port), _)| format!("{host}:{port}"))
        .collect();
    if !unknown.is_empty() {
        let why = format!("the sentinels know no master of the name `{name}`: {}", unknown.join(", "));
        return Error::new(ErrorKind::Config, why);
    }
    let causes: Vec<_> = causes.iter().map(|(host, port, error)| format!("{host}:{port}: {error}")).collect();
    let why = format!("no sentinel of the master `{name}` can be reached: {}", causes.join("; "));
    Error::new(ErrorKind::Unavailable, why)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_operator_has_to_mend_is_said_before_what_may_pass() {
        let at = |port| ("s".to_owned(), port);
        let error = |kind| Some(Error::new(kind, format!("it is {kind}")));
        let away = (at(1), error(ErrorKind::Timeout));
        let denied = (at(2), error(ErrorKind::Denied));
        let unknown = (at(3), None);
        let wrong = (at(4), error(ErrorKind::Config));
        let all = [away, unknown, denied, wrong];
        let said = |failed: &[_]| {
            let error = of("main", failed);
            (error.kind(), error.to_string())
        };
        let (kind, text) = said(&all);
        assert!(kind == ErrorKind::Config && text.contains("s:4"), "{text}");
        let (kind, text) = said(&all[..3]);
        assert!(
            kind == ErrorKind::Denied && text.contains("s:2") && text.contains("sentinel_credentials"),
            "{text}"
        );
        let (kind, text) = said(&all[..2]);
        assert!(kind == ErrorKind::Config && text.contains("`main`") && text.contains("s:3"), "{text}");
        let (kind, text) = said(&all[..1]);
        assert!(kind == ErrorKind::Unavailable && text.contains("s:1: "), "{text}");
    }
}
