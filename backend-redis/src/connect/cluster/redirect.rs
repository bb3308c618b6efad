//! What becomes of a command that a node has not carried out: decided here, and carried out [elsewhere](super::send).

use std::time::Duration;

use stanchion::{Error, ErrorKind};

use super::address::Address;
use crate::command::Route;
use crate::error::Refusal;

/// How often one command is redirected in a row. A slot moves once at a time; more means that the map is wrong somewhere.
const MAX_REDIRECTS: usize = 8;

/// Before a command is retried whose keys are split: at first, and at most.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(160));

/// The redirects of one command.
#[derive(Debug)]
pub(super) struct Redirects {
    left: usize,
    retry_split: bool,
    pause: Duration,
}

/// What is to be done after an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Decision {
    /// The map of slots may be out of date.
    pub(super) refresh: bool,
    pub(super) next: Next,
}

/// What becomes of the command.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// The error is the caller's.
    GiveUp,
    /// It is sent to the node at this address.
    Send(Address),
    /// It is sent to the node at this address, behind `ASKING`.
    Ask(Address),
    /// It is sent to the master of its slot after this pause, for as long as the call has time: a slot may be on its way
    /// for long, and there is nothing wrong with that.
    RetryAfter(Duration),
}

impl Redirects {
    pub(super) fn new(route: Route) -> Self {
        Self { left: MAX_REDIRECTS, retry_split: route.retry_split, pause: PAUSES.0 }
    }

    /// The error is one of those by which a server sends on what it has not carried out.
    pub(super) fn are_meant_by(error: &Error) -> bool {
        matches!(Refusal::of(error), Some(Refusal::Moved(_) | Refusal::Ask(_)))
    }

    /// Decides after an error of the node on this host.
    ///
    /// Only what the server has refused with nothing done is sent again. A redirect without a host is to another port of the
    /// same host.
    pub(super) fn decide(&mut self, error: &Error, host: &str) -> Decision {
        let refusal = Refusal::of(error);
        if refusal == Some(&Refusal::TryAgain) && self.retry_split {
            let pause = self.pause;
            // Up to Redis 6.2 the source says ASK each time, and the other node TRYAGAIN.
            *self = Self { left: MAX_REDIRECTS, pause: (2 * pause).min(PAUSES.1), ..*self };
            return Decision { refresh: false, next: Next::RetryAfter(pause) };
        }
        if self.left == 0 {
            return Decision { refresh: false, next: Next::GiveUp };
        }
        self.left -= 1;
        let at = |(named, port): &Address| {
            let host = if named.is_empty() { host } else { named };
            (host.to_owned(), *port)
        };
        match refusal {
            Some(Refusal::Moved(address)) => Decision { refresh: true, next: Next::Send(at(address)) },
            Some(Refusal::Ask(address)) => Decision { refresh: false, next: Next::Ask(at(address)) },
            Some(Refusal::TryAgain) => Decision { refresh: false, next: Next::GiveUp },
            // After a failover another master may serve the slot.
            Some(Refusal::NoScript) | None => {
                Decision { refresh: error.kind() == ErrorKind::Unavailable, next: Next::GiveUp }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use redis::{ServerError, Value};

    use super::*;
    use crate::error::{self, Access};

    /// The error of this reply.
    fn refused(line: &str) -> Error {
        match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap() {
            Value::ServerError(error) => from(&error),
            other => panic!("{other:?}"),
        }
    }

    fn from(error: &ServerError) -> Error {
        error::from_server(error, Access::Write)
    }

    fn decide(line: &str, retry_split: bool) -> Decision {
        Redirects::new(Route { slot: Some(1), retry_split }).decide(&refused(line), "here")
    }

    fn decision(refresh: bool, next: Next) -> Decision {
        Decision { refresh, next }
    }

    #[test]
    fn a_redirect_is_followed_and_one_for_good_draws_the_map_anew() {
        let there = || ("10.0.0.7".to_owned(), 6381);
        assert_eq!(decide("MOVED 1 10.0.0.7:6381", true), decision(true, Next::Send(there())));
        assert_eq!(decide("ASK 1 10.0.0.7:6381", true), decision(false, Next::Ask(there())));
        let here = || ("here".to_owned(), 6381);
        assert_eq!(decide("MOVED 1 :6381", true), decision(true, Next::Send(here())));
        assert_eq!(decide("ASK 1 :6381", true), decision(false, Next::Ask(here())));
    }

    #[test]
    fn split_keys_are_retried_unless_the_caller_knows_better() {
        let split = "TRYAGAIN Multiple keys request during rehashing of slot";
        assert_eq!(decide(split, true), decision(false, Next::RetryAfter(PAUSES.0)));
        assert_eq!(decide(split, false), decision(false, Next::GiveUp));
    }

    #[test]
    fn other_errors_are_the_callers_and_a_failover_draws_the_map_anew() {
        for line in ["NOSCRIPT No matching script", "WRONGTYPE a list", "OOM command not allowed"] {
            assert_eq!(decide(line, true), decision(false, Next::GiveUp), "{line}");
        }
        for line in ["READONLY a replica", "CLUSTERDOWN Hash slot not served", "LOADING"] {
            assert_eq!(decide(line, true), decision(true, Next::GiveUp), "{line}");
        }
        // Nothing is sent twice by itself: this one may have been carried out.
        let mut redirects = Redirects::new(Route { slot: None, retry_split: true });
        let lost = redis::RedisError::from(std::io::Error::from(std::io::ErrorKind::BrokenPipe));
        let lost = error::from_client(&lost, Access::Write);
        assert_eq!(redirects.decide(&lost, "here"), decision(true, Next::GiveUp));
    }

    #[test]
    fn redirects_come_to_an_end() {
        let mut redirects = Redirects::new(Route { slot: Some(1), retry_split: true });
        let moved = refused("MOVED 1 10.0.0.7:6381");
        let followed = (0..100).take_while(|_| redirects.decide(&moved, "here").next != Next::GiveUp);
        assert_eq!(followed.count(), MAX_REDIRECTS);
    }

    #[test]
    fn a_slot_on_its_way_is_no_circle() {
        let mut redirects = Redirects::new(Route { slot: Some(1), retry_split: true });
        let (ask, split) = (refused("ASK 1 10.0.0.7:6381"), refused("TRYAGAIN Multiple keys"));
        let mut pauses = Vec::new();
        for _ in 0..100 {
            assert!(matches!(redirects.decide(&ask, "here").next, Next::Ask(_)));
            match redirects.decide(&split, "here").next {
                Next::RetryAfter(pause) => pauses.push(pause),
                other => panic!("{other:?}"),
            }
        }
        assert!(pauses.is_sorted() && pauses[0] == PAUSES.0 && pauses[99] == PAUSES.1);
    }
}
