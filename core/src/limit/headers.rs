//! What an HTTP response says of a limit.

use std::time::Duration;

use super::{Decision, Tier};

/// The header fields of a response to a request that was checked: `RateLimit-Policy` and `RateLimit` as in
/// draft-ietf-httpapi-ratelimit-headers-10, and `Retry-After` (RFC 9110) where the request was denied.
///
/// | field | for each tier |
/// |---|---|
/// | `RateLimit-Policy` | its name, `q` permits in a window of `w` seconds: `"login";q=5;w=60` |
/// | `RateLimit` | its name, `r` permits remaining, and `t` seconds until there is one more: `"login";r=0;t=12` |
///
/// The name is the kind of the limits; of several tiers with `-1`, `-2`… after it. All seconds are rounded up, so that whoever
/// waits for them does not come too early. The window of a quota is said by its greatest length, 31 days for a month.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RateHeaders {
    /// `RateLimit-Policy`.
    pub policy: String,
    /// `RateLimit`; `None` where nothing was counted.
    pub limit: Option<String>,
    /// `Retry-After`, in seconds; `None` unless the request was denied.
    pub retry_after: Option<u64>,
}

impl RateHeaders {
    pub(super) fn new(kind: &str, tiers: &[Tier], decision: &Decision) -> Self {
        let name = |index: usize| match tiers.len() {
            1 => format!("\"{kind}\""),
            _ => format!("\"{kind}-{}\"", index + 1),
        };
        let policy = tiers.iter().enumerate().map(|(index, tier)| {
            format!("{};q={};w={}", name(index), tier.limit(), whole_seconds(tier.period()))
        });
        let limit = decision.tiers().iter().enumerate().map(|(index, status)| {
            format!("{};r={};t={}", name(index), status.remaining, whole_seconds(status.next_in))
        });
        Self {
            policy: policy.collect::<Vec<_>>().join(", "),
            limit: Some(limit.collect::<Vec<_>>().join(", ")).filter(|limit| !limit.is_empty()),
            retry_after: decision.retry_after_secs(),
        }
    }

    /// Each field that is there: its name in lower case, and its value.
    pub fn pairs(&self) -> impl Iterator<Item = (&'static str, String)> + '_ {
        let policy = Some(("ratelimit-policy", self.policy.clone()));
        let limit = self.limit.clone().map(|limit| ("ratelimit", limit));
        let retry_after = self.retry_after.map(|secs| ("retry-after", secs.to_string()));
        [policy, limit, retry_after].into_iter().flatten()
    }
}

impl Decision {
    /// The value of `Retry-After`, if denied: seconds, rounded up, so that the same request is not denied for having come too
    /// early.
    pub fn retry_after_secs(&self) -> Option<u64> {
        self.retry_after().map(whole_seconds)
    }
}

/// Rounded up.
fn whole_seconds(duration: Duration) -> u64 {
    duration.as_secs().saturating_add(u64::from(duration.subsec_nanos() > 0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limit::{Calendar, DecidedBy, TierStatus};

    fn status(remaining: u32, millis: u64) -> TierStatus {
        TierStatus::new(remaining, Duration::from_millis(millis), Duration::from_mins(1))
    }

    #[test]
    fn seconds_are_rounded_up_and_names_are_quoted() {
        let tiers = [Tier::new(5, Duration::from_mins(1)).unwrap()];
        let denied = |millis| Decision::denied(Duration::from_millis(millis), 0, vec![status(0, millis)]);
        for (millis, secs) in [(1, 1), (999, 1), (1_000, 1), (1_001, 2), (12_000, 12)] {
            let headers = RateHeaders::new("login", &tiers, &denied(millis));
            assert_eq!(headers.retry_after, Some(secs), "{millis} ms");
            assert_eq!(headers.limit, Some(format!("\"login\";r=0;t={secs}")));
            assert_eq!(headers.policy, "\"login\";q=5;w=60");
        }
    }

    #[test]
    fn each_tier_has_its_name_and_what_is_not_known_is_not_said() {
        let month = Tier::quota(1_000, Calendar::monthly()).unwrap();
        let tiers = [Tier::new(3, Duration::from_millis(1_500)).unwrap(), month];
        let allowed = Decision::allowed(vec![status(2, 500), status(999, 1_000_000)]);
        let pairs: Vec<_> = RateHeaders::new("api", &tiers, &allowed).pairs().collect();
        assert_eq!(
            pairs,
            [
                ("ratelimit-policy", "\"api-1\";q=3;w=2, \"api-2\";q=1000;w=2678400".to_owned()),
                ("ratelimit", "\"api-1\";r=2;t=1, \"api-2\";r=999;t=1000".to_owned()),
            ]
        );
        let open = Decision::allowed(Vec::new()).by(DecidedBy::Open);
        let names: Vec<_> = RateHeaders::new("api", &tiers, &open).pairs().map(|(name, _)| name).collect();
        assert_eq!(names, ["ratelimit-policy"]);
    }
}
