//! What one session has of its own: timeouts, and the limit of its user.

use std::time::Duration;

use super::sessions::{Inner, Sessions};
use crate::error::{Error, Result};
use crate::session::{NewSession, Patch, SessionId, SessionLimit, Timeouts};
use crate::time::Ttl;

/// What [`create_with`](Sessions::create_with) does otherwise than the service's settings say.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
#[must_use = "hand it to create_with()"]
pub struct CreateOptions {
    timeouts: Option<(Duration, Duration)>,
    limit: Option<SessionLimit>,
}

impl CreateOptions {
    /// As the service's settings say.
    pub fn new() -> Self {
        Self::default()
    }

    /// With an idle and an absolute timeout of its own, as for a user who wants to be remembered; no longer than the service
    /// [allows](super::SessionsBuilder::longest_timeouts).
    pub fn timeouts(mut self, idle: Duration, absolute: Duration) -> Self {
        self.timeouts = Some((idle, absolute));
        self
    }

    /// With another limit, as for a user of another role. Sessions of this user that are over it make room, or the new one is
    /// refused, as if it had always been so.
    pub fn limit(mut self, limit: SessionLimit) -> Self {
        self.limit = Some(limit);
        self
    }
}

impl Inner {
    /// The session to be created; its timeouts are checked, the rest is the store's to check.
    fn with_options(
        &self,
        mut session: NewSession,
        fields: Patch,
        options: &CreateOptions,
    ) -> Result<NewSession> {
        let timeouts = match options.timeouts {
            None => self.bounds.usual,
            Some((idle, absolute)) => Timeouts::new(Ttl::new(idle)?, Ttl::new(absolute)?),
        };
        let longest = self.bounds.own;
        if options.timeouts.is_some()
            && (timeouts.idle > longest.idle || timeouts.absolute > longest.absolute)
        {
            return Err(Error::invalid(format!(
                "a session's own timeouts may be {:?} and {:?}, got {:?} and {:?}",
                longest.idle.as_duration(),
                longest.absolute.as_duration(),
                timeouts.idle.as_duration(),
                timeouts.absolute.as_duration(),
            )));
        }
        (session.idle, session.absolute) = (timeouts.idle, timeouts.absolute);
        session.touch_every = timeouts.touch_every();
        session.own_timeouts = options.timeouts.is_some();
        session.publish = self.publisher.is_some() && !session.anonymous;
        (session.data, session.device) = (fields.set, fields.device);
        Ok(session)
    }
}

impl Sessions {
    /// A session to be created, or why there can't be one with these fields and options.
    pub(super) fn new_session(
        &self,
        id: SessionId,
        user: &str,
        fields: Patch,
        options: &CreateOptions,
    ) -> Result<NewSession> {
        let Timeouts { idle, absolute, .. } = self.0.bounds.usual;
        let limit = options.limit.unwrap_or(self.0.limit);
        self.with_options(NewSession::new(id, user, idle, absolute, limit), fields, options)
    }

    /// The same of a session that has an id and a user, or none.
    pub(super) fn with_options(
        &self,
        session: NewSession,
        fields: Patch,
        options: &CreateOptions,
    ) -> Result<NewSession> {
        if !fields.remove.is_empty() || fields.expected_version.is_some() {
            return Err(Error::invalid(
                "a new session has no fields to be removed, and no version to be expected",
            )
            .with_operation("session.create"));
        }
        self.0.with_options(session, fields, options).map_err(|error| error.with_operation("session.create"))
    }
}
