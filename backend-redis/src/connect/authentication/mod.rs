//! As whom connections are authenticated: when they are made, and anew while they live.
//!
//! [`live`] knows the connections that live and by which credentials, [`change`] authenticates them anew, and [`renewal`] does so
//! before the credentials end.

mod change;
mod connection;
mod live;
mod renewal;

pub(super) use self::connection::Authenticated;
pub(crate) use self::live::Authentication;
pub(crate) use self::renewal::keep_renewed;
