//! How soon a revocation is seen by every process, and what is accepted after that.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use stanchion::prelude::*;
use stanchion::token::{Epoch, Mark, Scope, TokenFacts};
use stanchion_memory::MokaNear;
use stanchion_redis::Invalidation;

use crate::Failure;
use crate::report::Row;
use crate::server::Server;
use crate::timing::{count, millis, now, pause};

const OTHERS: usize = 3;
const REVOCATIONS: usize = 300;
/// For how long it is asked whether anybody accepts what all have refused.
const AFTERWARDS: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(20);
const AGE: Duration = Duration::from_hours(1);

pub(super) async fn rows() -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    for server in [Server::standalone().await?, Server::cluster().await?] {
        for (mode, invalidation) in [("tracking", Invalidation::Tracking), ("bus", Invalidation::Bus)] {
            let (latest, accepted) = on(&server, invalidation).await?;
            let name = format!("{}, {mode}", server.name());
            let row = Row::count(format!("{name}: revocation seen by all, longest"), "ms", millis(latest));
            rows.push(row.at_most(100.0));
            rows.push(
                Row::count(format!("{name}: accepted afterwards"), "tokens", count(accepted)).at_most(0.0),
            );
        }
    }
    Ok(rows)
}

fn facts(n: usize) -> TokenFacts {
    let never = Mark::Epoch(Epoch::NEVER);
    TokenFacts::new(format!("j{n}"), vec![(Scope::Service, never), (Scope::User(format!("u{n}")), never)])
}

async fn tokens(server: &Server, invalidation: Invalidation) -> Result<Tokens, Failure> {
    let stores = server.stores(PATIENCE, invalidation).await?.service("auth")?;
    Ok(stores.tokens().near(MokaNear::entries(10_000), AGE).build()?)
}

async fn on(server: &Server, invalidation: Invalidation) -> Result<(Duration, usize), Failure> {
    let revoker = tokens(server, invalidation).await?;
    let others = try_join_all((0..OTHERS).map(|_| tokens(server, invalidation))).await?;
    // The feed of each is up once a revocation is seen within the age.
    let first = REVOCATIONS;
    for n in first..first + 20 {
        revoked(&revoker, &others, n).await?;
    }
    let (mut latest, mut accepted) = (Duration::ZERO, 0);
    for n in 0..REVOCATIONS {
        latest = latest.max(revoked(&revoker, &others, n).await?);
        if n % 31 == 0 {
            let until = now() + AFTERWARDS;
            // Each time another question, so that none is answered by the copy of a refusal.
            for turn in 1.. {
                if now() >= until {
                    break;
                }
                let asked = facts(n).skew(Duration::from_micros(turn));
                for other in &others {
                    accepted += usize::from(other.check(&asked).await? == Verdict::Active);
                }
            }
        }
    }
    Ok((latest, accepted))
}

/// Revokes a token that all others have found active, or its user, and answers how long it took until all have refused it.
async fn revoked(revoker: &Tokens, others: &[Tokens], n: usize) -> Result<Duration, Failure> {
    let token = facts(n);
    for other in others {
        if other.check(&token).await? != Verdict::Active {
            return Err("a token that nobody has revoked is refused".into());
        }
    }
    if n.is_multiple_of(2) {
        revoker.revoke_user(&format!("u{n}")).await?;
    } else {
        revoker.revoke(&token.jti, stanchion::time::Timestamp::from_secs(4_000_000_000)).await?;
    }
    let answered = now();
    for other in others {
        while other.check(&token).await? == Verdict::Active {
            give_up(answered)?;
            pause(Duration::from_micros(100)).await;
        }
    }
    Ok(answered.elapsed())
}

fn give_up(since: Instant) -> Result<(), Failure> {
    if since.elapsed() < PATIENCE { Ok(()) } else { Err("a revocation has not been seen".into()) }
}
