//! The conformance suite: what every backend of [`stanchion`] must do.
//!
//! A backend author writes a harness that opens a place, and a `main`:
//!
//! ```no_run
//! // tests/conformance.rs, with `harness = false` in Cargo.toml
//! use std::time::Duration;
//!
//! use stanchion::stores::Stores;
//! use stanchion_conformance::{Harness, Offers, Place, Time, Unavailable};
//! use stanchion_memory::MemoryBackend;
//!
//! /// The backend under test: yours in place of `MemoryBackend`.
//! struct Mine(MemoryBackend);
//!
//! #[async_trait::async_trait]
//! impl Harness for Mine {
//!     fn name(&self) -> &str {
//!         "mine"
//!     }
//!
//!     fn offers(&self) -> Offers {
//!         Offers::all()
//!     }
//!
//!     fn time(&self) -> Time {
//!         Time::Real
//!     }
//!
//!     async fn prepare(&self) -> Result<(), Unavailable> {
//!         Ok(())
//!     }
//!
//!     async fn open(&self, place: &Place) -> stanchion::Result<Stores> {
//!         println!("a namespace of its own for each place: {}", place.prefix());
//!         Ok(self.0.handle().stores())
//!     }
//!
//!     async fn advance(&self, _place: &Place, by: Duration) {
//!         tokio::time::sleep(by).await;
//!     }
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     stanchion_conformance::main([Mine(MemoryBackend::new())])
//! }
//! ```
//!
//! Each case runs in a [`Place`] of its own: no flushes, no order, any number at once. Opening the same place
//! twice is two processes; another place must see nothing of it.
//!
//! A harness whose places another process can open says how ([`Harness::child_environment`]); then the test
//! binary is also run again, as processes that race, and one that is killed. A backend in one process has those cases
//! ignored.
//!
//! Cases that set the store's wall clock run where the harness can ([`Harness::step_wall_clock`]).
//!
//! Cases of the area `fault` break their server: a harness that can give a case one of its own says so
//! ([`Harness::owned_server`]). Elsewhere they are ignored, with the reason.
//!
//! `examples/file-store` is a small backend with its harness, which offers some areas and one optional part of the cache:
//! for what is not offered the suite checks that it is refused.
//!
//! The rules, with their cases, are in `RULES.md`; the wrong backends that prove the suite are in
//! `tests/wrong/`: at least one for each case of each MUST rule, which fails in that case and breaks no other
//! rule, as far as that can be.

#![cfg_attr(docsrs, feature(doc_cfg))]

/// The README's example is compiled as a doc test.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

mod case;
pub mod cases;
mod check;
mod child;
mod context;
mod harness;
pub mod history;
#[cfg(feature = "model")]
pub mod model;
mod owned;
mod part;
pub mod report;
mod runner;
#[cfg(feature = "servers")]
pub mod servers;
mod wall;

pub use self::case::{Area, Case, Failure, Level, Outcome, Rule};
pub use self::child::run_child;
pub use self::context::Context;
pub use self::harness::{Harness, Offers, Place, Time, Unavailable};
pub use self::owned::OwnedServer;
pub use self::part::Part;
pub use self::runner::{main, run_case, run_refused, run_without};
pub use self::wall::{Stepped, WallStep};
