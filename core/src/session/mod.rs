//! Sessions: [`SessionStore`] for backends, [`Sessions`] for services.
//!
//! The secret that a client holds ([`SessionToken`]) and the name under which the session is stored
//! ([`SessionId`]) are two things: the id is a keyed hash of the secret, so that whoever reads the store,
//! a log or an event can't take a session over.

mod capability;
mod debug;
mod device;
mod facade;
mod id;
mod limit;
mod near;
mod new;
pub mod outbox;
mod patch;
mod publisher;
mod record;
mod rotation;
#[cfg(feature = "encryption")]
mod sealed;
mod store;
mod telemetry;
mod timeouts;

pub use self::capability::SessionCapabilities;
pub use self::device::Device;
pub use self::facade::{
    AnonymousSession, CreateOptions, DestroyOutcome, OpenOutcome, OpenedAnonymous, OpenedSession, Resumed,
    Rotated, SessionView, Sessions, SessionsBuilder, Unrevoked, UserSessions,
};
pub use self::id::{SessionId, SessionToken};
pub use self::limit::SessionLimit;
pub use self::new::{CreateOutcome, NewSession, Predecessor};
pub use self::outbox::{SessionEnd, SessionOutbox};
pub use self::patch::{Patch, PatchOutcome, TouchOutcome};
pub use self::publisher::SessionEvents;
pub use self::record::{SessionRecord, SessionSummary};
pub use self::rotation::{RotateOutcome, Rotation};
#[cfg(feature = "encryption")]
pub use self::sealed::SessionEncryption;
pub use self::store::SessionStore;
pub use self::timeouts::{SessionBounds, Timeouts};
pub use crate::environment::HashingKey;
