//! Sessions in the file: whose there are, and no more of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use stanchion::Result;
use stanchion::changes::ChangeFeed;
use stanchion::clock::{Clock, SystemClock};
use stanchion::contract::Contract;
use stanchion::key::Name;
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionLimit, SessionOutbox, SessionRecord, SessionStore, SessionSummary,
    TouchOutcome,
};

use super::state::{Change, Files, not_here};

/// Of a session that lives for a day at least.
fn record(id: SessionId, user: &str) -> SessionRecord {
    let (now, day) = (SystemClock.wall(), Duration::from_hours(24));
    SessionRecord::new(id, user.to_owned(), BTreeMap::new(), 1, now, now, now.saturating_add(day), day)
}

fn of(service: &Name, user: &str) -> String {
    format!("{service} {user}")
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SessionStore for Files {
    fn capabilities(&self) -> SessionCapabilities {
        SessionCapabilities::new(Contract::V1)
    }

    /// What is here lives for a day, and no race takes so long.
    fn outbox(&self) -> Option<&dyn SessionOutbox> {
        None
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        None
    }

    fn bounded(&self, _bounds: SessionBounds) -> Arc<dyn SessionStore> {
        Arc::new(self.clone())
    }

    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        self.change(Change::Session, |state| {
            let ids = state.sessions.entry(of(service, &session.user)).or_default();
            let excess = (ids.len() + 1).saturating_sub(session.limit.count() as usize);
            if excess > 0 && matches!(session.limit, SessionLimit::Reject(_)) {
                return Ok(CreateOutcome::LimitReached);
            }
            let evicted = ids.drain(..excess).map(|id| id.parse()).collect::<Result<Vec<_>>>()?;
            ids.push(session.id.to_string());
            Ok(CreateOutcome::Created { record: record(session.id, &session.user), evicted, replaced: None })
        })
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.look(|state| {
            let (prefix, text) = (of(service, ""), id.to_string());
            let users =
                state.sessions.iter().filter_map(|(key, ids)| Some((key.strip_prefix(&prefix)?, ids)));
            let user = users.into_iter().find(|(_, ids)| ids.contains(&text));
            user.map(|(user, _)| record(id.clone(), user))
        })
    }

    async fn use_session(&self, _service: &Name, _id: &SessionId) -> Result<Option<SessionRecord>> {
        not_here()
    }

    async fn patch(&self, _service: &Name, _id: &SessionId, _patch: &Patch) -> Result<PatchOutcome> {
        not_here()
    }

    async fn touch(&self, _service: &Name, _id: &SessionId) -> Result<TouchOutcome> {
        not_here()
    }

    async fn rotate(
        &self,
        _service: &Name,
        _user: &str,
        _id: &SessionId,
        _rotation: &Rotation,
    ) -> Result<RotateOutcome> {
        not_here()
    }

    async fn destroy(&self, _service: &Name, _id: &SessionId) -> Result<Option<SessionRecord>> {
        not_here()
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionSummary>> {
        let ids = self.look(|state| state.sessions.get(&of(service, user)).cloned().unwrap_or_default())?;
        ids.iter().rev().map(|id| Ok(record(id.parse()?, user).into_summary())).collect()
    }

    async fn destroy_all(
        &self,
        _service: &Name,
        _user: &str,
        _except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        not_here()
    }
}
