//! What a session backend can take.

use std::time::Duration;

use super::{NewSession, Patch, Rotation, SessionId};
use crate::contract::{BaseCapabilities, Contract};
use crate::error::{Error, Result};
use crate::key::{bucket_of, escape};

/// The bounds of a session backend, declared and checked before a call reaches its server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct SessionCapabilities {
    /// What every store declares.
    pub base: BaseCapabilities,
    /// The largest total of field names and values of one session, in bytes; also the most that one call may send.
    pub max_data_bytes: usize,
    /// The most fields of one session; also the most names that one call may set, and that it may remove.
    pub max_fields: usize,
    /// The most live sessions of one user.
    pub max_per_user: u32,
}

impl SessionCapabilities {
    /// 256 KiB in 4,096 fields a session, 1,000 sessions a user.
    pub const fn new(contract: Contract) -> Self {
        Self {
            base: BaseCapabilities::new(contract),
            max_data_bytes: 256 * 1024,
            max_fields: 4_096,
            max_per_user: 1_000,
        }
    }

    /// With a deadline for every call.
    #[must_use]
    pub const fn call_deadline(mut self, deadline: Duration) -> Self {
        self.base = self.base.call_deadline(deadline);
        self
    }

    /// Refuses a session that no backend keeps: a bad user id, a limit of zero or over
    /// [`max_per_user`](Self::max_per_user), too much data, an overlong label or address, or an id from another user's token.
    pub fn check_new(&self, session: &NewSession) -> Result<()> {
        if session.anonymous {
            if !session.user.is_empty() || session.replaces.is_some() {
                return Err(Error::invalid("an anonymous session has no user, and takes nobody's place"));
            }
            return self.check_content(session);
        }
        Self::check_user(&session.user)?;
        let count = session.limit.count();
        if count == 0 || count > self.max_per_user {
            return Err(Error::invalid(format!(
                "a session limit takes 1 to {}, got {count}",
                self.max_per_user
            )));
        }
        if session.id.bucket() != bucket_of(&session.user) {
            return Err(Error::invalid("the session id was made for another user"));
        }
        if session
            .replaces
            .as_ref()
            .is_some_and(|of| of.id.bucket() != session.id.bucket() || of.id == session.id)
        {
            return Err(Error::invalid("a session takes the place of another one of the same user"));
        }
        self.check_content(session)
    }

    fn check_content(&self, session: &NewSession) -> Result<()> {
        session.device.check()?;
        let bytes = session.data.iter().map(|(name, value)| name.len() + value.len()).sum();
        self.check_data(session.data.len(), bytes)
    }

    /// Refuses a patch that no session could take: more names or bytes than a session may hold, or an overlong label or
    /// address. Names to be removed count too.
    pub fn check_patch(&self, patch: &Patch) -> Result<()> {
        patch.device.check()?;
        self.check_data(patch.set.len().max(patch.remove.len()), patch.bytes())
    }

    /// Refuses a rotation that no session could take: to an id in another bucket or to the same one, with a patch that is
    /// refused, or with a grace of more than [`MAX_GRACE`](Rotation::MAX_GRACE).
    pub fn check_rotation(&self, id: &SessionId, rotation: &Rotation) -> Result<()> {
        if rotation.to.bucket() != id.bucket() || rotation.to == *id {
            return Err(Error::invalid("a session is rotated to another id in its bucket"));
        }
        if rotation.grace > Rotation::MAX_GRACE {
            let (most, got) = (Rotation::MAX_GRACE, rotation.grace);
            return Err(Error::invalid(format!("the grace of a rotation is at most {most:?}, got {got:?}")));
        }
        self.check_patch(&rotation.patch)
    }

    /// Refuses more fields, or more bytes in their names and values, than a session may hold.
    pub fn check_data(&self, fields: usize, bytes: usize) -> Result<()> {
        if bytes > self.max_data_bytes || fields > self.max_fields {
            return Err(Error::invalid(format!(
                "a session holds {} bytes in {} fields, got {bytes} in {fields}; keep large data elsewhere",
                self.max_data_bytes, self.max_fields
            )));
        }
        Ok(())
    }

    /// Refuses a user id that can't stand in a key: an empty or overlong one.
    pub fn check_user(user: &str) -> Result<()> {
        escape(user).map(drop)
    }
}
