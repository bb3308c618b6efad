//! What services call: sessions, how they are built, and what callers see of one.

mod announce;
mod anonymous;
mod bind;
mod builder;
mod by_id;
mod create;
mod end;
#[cfg(feature = "jwt")]
mod issue;
mod list;
mod options;
mod owed;
mod owned;
#[cfg(feature = "jwt")]
mod refresh;
mod request;
mod revoke;
mod rotate;
mod sessions;
mod unrevoked;
mod view;

pub use self::anonymous::{AnonymousSession, OpenedAnonymous, Resumed};
pub use self::builder::SessionsBuilder;
pub use self::list::UserSessions;
pub use self::options::CreateOptions;
pub use self::rotate::Rotated;
pub use self::sessions::Sessions;
pub use self::unrevoked::Unrevoked;
pub use self::view::{DestroyOutcome, OpenOutcome, OpenedSession, SessionView};
