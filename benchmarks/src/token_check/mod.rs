//! Checking tokens by verdicts that are kept in the process: what it costs, and how late a revocation may be.

mod revoked;
mod verify;

use stanchion_conformance::servers::RedisProcess;

use crate::report::Report;
use crate::{Failure, machine};

const METHOD: &str = "`Tokens::verify` of 1,000 tokens of this service, with `near(MokaNear, 1 minute)`, each of which was verified before: commands that \
go through a proxy which counts them, and the time of one call, beside `jsonwebtoken::decode` of the same tokens into the same \
claims with issuer and expiry checked. Each call is timed by itself, median of the calls; median of 8 paired rounds in balanced order after one to warm \
up; on one thread. \
Revocations: four backends with connections of their own, each with verdicts kept for an hour, so that only the feed ends them. One revokes a token, \
or all of a user, the others ask again and again until they refuse it: the longest time of 300 revocations, from the moment \
the revocation was answered. Then it is asked for 100 ms more whether any accepts it.";

pub(crate) async fn run() -> Result<Report, Failure> {
    let mut rows = verify::rows().await?;
    rows.extend(revoked::rows().await?);
    let version = RedisProcess::start().await?.version().await?;
    let crates = machine::versions(&["jsonwebtoken", "moka", "redis", "tokio", "stanchion"]);
    Ok(Report::new("token-check", format!("Redis {version}, {crates}"), METHOD, rows))
}
