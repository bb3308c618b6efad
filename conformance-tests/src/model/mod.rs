//! Model-based tests: random sequences of operations, which two sets of stores must answer alike.
//!
//! The memory backend is the model. A sequence acts through several handles on one place, with alphabets so small
//! that its steps collide. [`agree`] looks for a sequence that is answered differently, and shrinks it to one from
//! which nothing can be left out:
//!
//! ```no_run
//! # let runtime = tokio::runtime::Runtime::new().unwrap();
//! use stanchion_conformance::Offers;
//! use stanchion_conformance::model::{World, agree, cases};
//! use stanchion_memory::MemoryBackend;
//!
//! let model = async || World::new(vec![MemoryBackend::new().stores()]);
//! # let subject = async || World::new(vec![MemoryBackend::new().stores()]);
//! let agreed = agree(&runtime, Offers::all(), cases(64), 60, model, subject);
//! assert!(agreed.is_ok(), "{}", agreed.unwrap_err());
//! ```
//!
//! A backend that has some areas only says which: no sequence has a step in another.
//!
//! Stores whose calls may fail, because a layer of [faults](stanchion::layer::Faults) or a network is in between, are held to
//! the model by [`agree_despite_faults`].
//!
//! Time can't be driven everywhere, so nothing in a sequence ends by itself: lives are hours, and what is left of
//! them is compared to some minutes.

mod answer;
mod cache;
mod compare;
mod event;
mod faults;
mod limit;
mod lock;
mod run;
mod session;
mod step;
mod token;

pub use self::answer::Answer;
pub use self::compare::{Difference, agree, cases};
pub use self::faults::{Violation, agree_despite_faults};
pub use self::run::{World, run};
pub use self::step::{Operation, Step, steps};
