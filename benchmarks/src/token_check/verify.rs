//! What a check costs that finds its verdict here.

use std::time::Duration;

use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode};
use stanchion::prelude::*;
use stanchion::token::Claims;
use stanchion_memory::MokaNear;
use stanchion_redis::{RedisBackend, RedisConfig};

use crate::Failure;
use crate::report::Row;
use crate::rounds::{ROUNDS, Rounds};
use crate::server::Server;
use crate::timing::{count, now};

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A pair of this benchmark's own: it guards nothing.
const PRIVATE: &[u8] = b"-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIH676b9uXkK0GE+SqtxB5NgjxOCFPHiY8E6oGzKkq5Gs
-----END PRIVATE KEY-----
";
const PUBLIC: &[u8] = b"-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAlvZkh1B2JZakN0wZGT04hv1YICwXg04XzOGqYa5qR0I=
-----END PUBLIC KEY-----
";

const TOKENS: usize = 1_000;
const PEER: &str = "jsonwebtoken";

pub(super) async fn rows() -> Result<Vec<Row>, Failure> {
    let (server, proxies) = Server::standalone_behind_proxy().await?;
    // Nothing of its own accord meanwhile.
    let config: RedisConfig = server.config(&proxies)?.ping_every(Duration::from_hours(1));
    let stores = RedisBackend::connect(config).await?.stores().service("auth")?;
    let mut rows = Vec::new();
    let keys = [
        ("HS256", JwtKey::hs256("k1", SECRET)?, DecodingKey::from_secret(SECRET)?, Algorithm::HS256),
        (
            "EdDSA",
            JwtKey::ed25519("k1", PRIVATE, PUBLIC)?,
            DecodingKey::from_ed_pem(PUBLIC)?,
            Algorithm::EdDSA,
        ),
    ];
    for (name, key, bare, algorithm) in keys {
        let near = MokaNear::entries(10 * TOKENS as u64);
        let tokens = stores.tokens().key(key).near(near, Duration::from_mins(1)).build()?;
        let mut texts = Vec::new();
        for n in 0..TOKENS {
            texts.push(tokens.issue(&format!("u{n}"), IssueOptions::new().client("web")).await?.token);
        }
        let mut validation = Validation::new(algorithm);
        validation.set_issuer(&["auth"]);
        validation.validate_aud = false;
        let mut rounds = Rounds::of(2);
        let mut sent = 0;
        for round in 0..=ROUNDS {
            // Each once, so that its verdict is here.
            for text in &texts {
                let _claims = tokens.verify(text).await?;
            }
            proxies[0].forget_requests();
            let mut measured = vec![0.0; 2];
            for side in rounds.order(round) {
                let mut times = Vec::with_capacity(TOKENS);
                for text in &texts {
                    let begun = now();
                    let claims: Claims = match side {
                        0 => tokens.verify(text).await?,
                        _ => bare_verify(text, &bare, &validation)?,
                    };
                    times.push(begun.elapsed());
                    if claims.iss != "auth" {
                        return Err("another token".into());
                    }
                }
                times.sort_unstable();
                measured[side] = times[TOKENS / 2].as_secs_f64() * 1e9;
            }
            sent += proxies[0].requests("");
            if round > 0 {
                rounds.add(measured);
            }
        }
        let row = Row::pairs(format!("{name}: verify, median"), PEER, "ns", &rounds.pairs(0, 1));
        rows.push(row.at_most(1.2));
        let commands = count(sent) / count(TOKENS * (ROUNDS + 1));
        rows.push(Row::count(format!("{name}: commands per verify"), "commands", commands).at_most(0.0));
    }
    Ok(rows)
}

#[expect(
    clippy::disallowed_methods,
    reason = "it is what is measured against; this program has one kind of cryptography"
)]
fn bare_verify(text: &str, key: &DecodingKey, validation: &Validation) -> Result<Claims, Failure> {
    Ok(decode::<Claims>(text, key, validation)?.claims)
}
