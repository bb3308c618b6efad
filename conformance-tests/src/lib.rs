//! conformance-tests

#[cfg(feature = "servers")]
pub mod servers;
