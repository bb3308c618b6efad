//! Ends are final: what is issued, revoked and retried where sessions and tokens meet.
#![cfg(feature = "jwt")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod floor;
mod log_in;
mod owed;
mod place;
mod settings;
mod skew;
#[path = "../support/mod.rs"]
mod support;
mod within;

use stanchion::prelude::*;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// The key that all of them sign with.
fn key() -> JwtKey {
    JwtKey::hs256("k1", SECRET).unwrap()
}
