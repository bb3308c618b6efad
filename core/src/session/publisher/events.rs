//! Which events are published of sessions, and under what names.

use serde::Serialize;

use crate::error::{Error, ErrorKind, Result};
use crate::event::standard::{SessionCreated, SessionExpired, SessionRotated};
use crate::event::{Envelope, Event, EventId, EventType};
use crate::key::Name;
use crate::session::SessionId;
use crate::session::outbox::SessionNews;
use crate::time::Timestamp;

/// Which events a service publishes of its sessions, for [`SessionsBuilder::events`](crate::session::SessionsBuilder::events).
///
/// Their payloads are those of [`SessionCreated`], [`SessionRotated`] and [`SessionExpired`], whatever they are called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionEvents {
    created: Option<EventType>,
    rotated: Option<EventType>,
    ended: Option<EventType>,
}

impl SessionEvents {
    /// `auth.session_created`, `auth.session_rotated` and `auth.session_expired`.
    ///
    /// # Errors
    /// None: all are types.
    pub fn standard() -> Result<Self> {
        let standard = |text: &str| EventType::new(text).map(Some);
        Ok(Self {
            created: standard(SessionCreated::TYPE)?,
            rotated: standard(SessionRotated::TYPE)?,
            ended: standard(SessionExpired::TYPE)?,
        })
    }

    /// With another type for a session that was created.
    ///
    /// # Errors
    /// `InvalidInput` for what is no [`EventType`].
    pub fn created_as(mut self, event_type: &str) -> Result<Self> {
        self.created = Some(EventType::new(event_type)?);
        Ok(self)
    }

    /// With another type for a session that was rotated.
    ///
    /// # Errors
    /// `InvalidInput` for what is no [`EventType`].
    pub fn rotated_as(mut self, event_type: &str) -> Result<Self> {
        self.rotated = Some(EventType::new(event_type)?);
        Ok(self)
    }

    /// With another type for a session that has ended.
    ///
    /// # Errors
    /// `InvalidInput` for what is no [`EventType`].
    pub fn ended_as(mut self, event_type: &str) -> Result<Self> {
        self.ended = Some(EventType::new(event_type)?);
        Ok(self)
    }

    /// With nothing of a session that was created.
    #[must_use]
    pub fn without_created(mut self) -> Self {
        self.created = None;
        self
    }

    /// With nothing of a session that was rotated.
    #[must_use]
    pub fn without_rotated(mut self) -> Self {
        self.rotated = None;
        self
    }

    /// With nothing of a session that has ended.
    #[must_use]
    pub fn without_ended(mut self) -> Self {
        self.ended = None;
        self
    }

    /// The event of some news; `None` where none is wanted. Made again of the same news it has the same id.
    pub(super) fn event_of(
        &self,
        service: &Name,
        news: &SessionNews,
        id: &SessionId,
        user: &str,
        at: Timestamp,
    ) -> Result<Option<Envelope>> {
        let (user_id, session_id) = (user.to_owned(), id.to_string());
        let (event_type, data) = match news {
            SessionNews::Created => (&self.created, json(&SessionCreated { user_id, session_id })?),
            SessionNews::Rotated { to } => {
                let new_session_id = to.to_string();
                (&self.rotated, json(&SessionRotated { user_id, session_id, new_session_id })?)
            }
            SessionNews::Ended(reason) => {
                (&self.ended, json(&SessionExpired { user_id, session_id, reason: *reason })?)
            }
        };
        let Some(event_type) = event_type else {
            return Ok(None);
        };
        let session = id.to_string();
        let parts = [service.as_str(), event_type.as_str(), &session].map(str::as_bytes);
        let event_id = EventId::derived(at, &parts);
        let event = Envelope::new(event_id, service.as_str(), event_type.clone(), at, data);
        Ok(Some(event.subject(Some(user.to_owned()))))
    }
}

fn json(payload: &impl Serialize) -> Result<serde_json::Value> {
    serde_json::to_value(payload)
        .map_err(|_| Error::new(ErrorKind::Codec, "the event of a session can't be written as JSON"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::environment::HashingKey;
    use crate::random::SystemRandom;
    use crate::session::{SessionEnd, SessionToken};

    #[test]
    fn the_event_of_the_same_news_is_the_same_and_that_of_others_is_not() {
        let (events, service) = (SessionEvents::standard().unwrap(), Name::literal("auth"));
        let id = || {
            let token = SessionToken::generate("u1", &SystemRandom).unwrap();
            HashingKey::unkeyed().session_id(&token)
        };
        let (one, other, at) = (id(), id(), Timestamp::from_micros(1_750_000_000_000_001));
        let ended = SessionNews::Ended(SessionEnd::TimedOut);
        let event = |news: SessionNews, id: &SessionId| {
            events.event_of(&service, &news, id, "u1", at).unwrap().unwrap()
        };
        assert_eq!(event(ended.clone(), &one), event(ended.clone(), &one));
        let ids = [
            event(ended.clone(), &one).id,
            event(ended.clone(), &other).id,
            event(SessionNews::Created, &one).id,
        ];
        assert!(ids[0] != ids[1] && ids[0] != ids[2] && ids[1] != ids[2], "{ids:?}");
        assert_eq!(event(ended.clone(), &one).subject.as_deref(), Some("u1"));
        let silent = events.clone().without_created();
        assert_eq!(silent.event_of(&service, &SessionNews::Created, &one, "u1", at).unwrap(), None);
        let renamed = events.ended_as("login.over").unwrap();
        let event = renamed.event_of(&service, &ended, &one, "u1", at).unwrap().unwrap();
        assert_eq!(event.event_type.as_str(), "login.over");
    }
}
