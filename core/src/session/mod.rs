//! Sessions: [`SessionStore`] for backends, [`Sessions`] for services.
//!
//! The secret that a client holds ([`SessionToken`]) and the name under which the session is stored
//! ([`SessionId`]) are two things: the id is a keyed hash of the secret, so that whoever reads the store,
//! a log or an event can't take a session over.

mod capability;
mod facade;
mod id;
mod limit;
mod record;
mod store;
mod telemetry;

pub use self::capability::SessionCapabilities;
pub use self::facade::{OpenedSession, SessionView, Sessions, SessionsBuilder};
pub use self::id::{SessionId, SessionToken};
pub use self::limit::SessionLimit;
pub use self::record::{CreateOutcome, NewSession, Patch, PatchOutcome, SessionRecord, TouchOutcome};
pub use self::store::SessionStore;
pub use crate::environment::HashingKey;
