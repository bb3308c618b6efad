//! Tokens of other issuers: every algorithm, key sets, where they come from, and revocation.

#![cfg(feature = "jwt")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

#[path = "../support/mod.rs"]
mod support;

mod algorithms;
mod fetched;
#[cfg(feature = "jwks")]
mod http;
mod keys;
mod revoked;
