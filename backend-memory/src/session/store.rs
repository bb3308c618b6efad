//! The session store.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use stanchion::Result;
use stanchion::cache::Watch;
use stanchion::changes::{ChangeFeed, ChangeWatcher, ChangedKeys};
use stanchion::key::{Name, Namespace};
use stanchion::session::outbox::{
    OutboxBounds, OutboxId, OutboxPage, OutboxPosition, PublisherId, ReapCursor, Reaped, SessionEnd,
};
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionOutbox, SessionRecord, SessionStore, SessionSummary, TouchOutcome,
};
use stanchion::time::Ttl;

use super::outbox::{BOUNDS, OUTBOX};
use super::state::{State, View};
use super::stored::Now;
use crate::shared::{CONTRACT, Handle, NEVER_WAITS, locked};

#[derive(Debug)]
pub(crate) struct MemorySessions {
    handle: Arc<Handle>,
    state: Arc<Mutex<State>>,
    bounds: SessionBounds,
}

impl MemorySessions {
    pub(crate) fn new(handle: &Arc<Handle>, state: &Arc<Mutex<State>>) -> Self {
        Self { handle: Arc::clone(handle), state: Arc::clone(state), bounds: SessionBounds::NONE }
    }

    /// Does something at one instant, after a few of the ended sessions were cleared away.
    fn operate<T>(&self, operation: &'static str, work: impl FnOnce(View<'_>) -> Result<T>) -> Result<T> {
        self.handle.operate(operation, || {
            let mut state: MutexGuard<'_, State> = locked(&self.state);
            let now = Now { at: self.handle.now(), wall: self.handle.wall() };
            let mut view = View { state: &mut state, now, bounds: self.bounds };
            view.purge();
            work(view)
        })
    }
}

#[async_trait]
impl SessionStore for MemorySessions {
    fn capabilities(&self) -> SessionCapabilities {
        SessionCapabilities::new(CONTRACT).call_deadline(NEVER_WAITS)
    }

    fn outbox(&self) -> Option<&dyn SessionOutbox> {
        Some(self)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        Some(self)
    }

    fn bounded(&self, bounds: SessionBounds) -> Arc<dyn SessionStore> {
        Arc::new(Self { bounds, ..Self::new(&self.handle, &self.state) })
    }

    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        self.operate("session.create", |mut view| {
            self.capabilities().check_new(&session)?;
            view.create(service, session)
        })
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.operate("session.load", |view| Ok(view.record(&view.resolve(service, id))))
    }

    async fn use_session(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.operate("session.use", |mut view| {
            let id = view.resolve(service, id);
            Ok(view.use_session(&id))
        })
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        self.operate("session.patch", |mut view| {
            self.capabilities().check_patch(patch)?;
            view.patch(&(service.clone(), id.clone()), patch, self.capabilities())
        })
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        self.operate("session.touch", |mut view| {
            let id = view.resolve(service, id);
            Ok(view.touch(&id))
        })
    }

    async fn rotate(
        &self,
        service: &Name,
        user: &str,
        id: &SessionId,
        rotation: &Rotation,
    ) -> Result<RotateOutcome> {
        self.operate("session.rotate", |mut view| {
            self.capabilities().check_rotation(id, rotation)?;
            view.rotate(&(service.clone(), id.clone()), user, rotation, self.capabilities())
        })
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.operate("session.destroy", |mut view| {
            let id = view.resolve(service, id);
            Ok(view.end(&id, SessionEnd::Destroyed))
        })
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionSummary>> {
        self.operate("session.list", |view| {
            SessionCapabilities::check_user(user)?;
            Ok(view.list(service, user))
        })
    }

    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        self.operate("session.destroy_all", |mut view| {
            SessionCapabilities::check_user(user)?;
            let except = except.map(|id| view.resolve(service, id).1);
            let mut ended = view.live(service, user);
            ended.retain(|id| Some(&id.1) != except.as_ref());
            for id in &ended {
                view.end(id, SessionEnd::Destroyed);
            }
            Ok(ended.into_iter().map(|id| id.1).collect())
        })
    }
}

#[async_trait]
impl SessionOutbox for MemorySessions {
    fn bounds(&self) -> OutboxBounds {
        BOUNDS
    }

    fn outbox_of(&self, _: &SessionId) -> OutboxId {
        OUTBOX
    }

    async fn lead(&self, service: &Name, publisher: &PublisherId, lease: Ttl) -> Result<bool> {
        self.operate("session.lead", |view| {
            Ok(view.state.outbox(service).lead(publisher, view.now.at, lease.as_duration()))
        })
    }

    async fn reap(&self, service: &Name, _: ReapCursor, limit: usize) -> Result<Reaped> {
        self.operate("session.reap", |mut view| {
            BOUNDS.check(limit)?;
            Ok(view.reap(service, limit))
        })
    }

    async fn read(
        &self,
        service: &Name,
        _: OutboxId,
        publisher: &PublisherId,
        claim: Ttl,
        limit: usize,
    ) -> Result<OutboxPage> {
        self.operate("session.read_outbox", |view| {
            BOUNDS.check(limit)?;
            Ok(view.state.outbox(service).read(publisher, view.now.at, claim.as_duration(), limit))
        })
    }

    async fn acknowledge(
        &self,
        service: &Name,
        _: OutboxId,
        publisher: &PublisherId,
        positions: &[OutboxPosition],
    ) -> Result<u64> {
        self.operate("session.acknowledge", |view| {
            BOUNDS.check_positions(positions)?;
            Ok(view.state.outbox(service).acknowledge(publisher, positions))
        })
    }
}

impl ChangeFeed for MemorySessions {
    fn watch(&self, service: &Name, watcher: Arc<dyn ChangeWatcher>) -> Result<Watch> {
        self.handle.operate("session.watch", || {
            let namespace = Namespace::new(service.as_str(), "session")?;
            let watcher = Arc::new(ChangedKeys::new(watcher, |key| key.splitn(3, ':').nth(2)));
            let mut state = locked(&self.state);
            self.handle.check_open()?;
            let number = state.watchers.begin(self.handle.number, &namespace, watcher);
            let state = Arc::downgrade(&self.state);
            Ok(Watch::new(move || {
                if let Some(state) = state.upgrade() {
                    locked(&state).watchers.end(number);
                }
            }))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use stanchion::clock::ManualClock;
    use stanchion::environment::Environment;
    use stanchion::session::{SessionLimit, SessionToken};
    use stanchion::time::Ttl;

    use super::*;

    const IDLE: Duration = Duration::from_secs(10);

    fn session(environment: &Environment) -> NewSession {
        let token = SessionToken::generate("u1", &*environment.random).unwrap();
        let (idle, absolute) = (Ttl::new(IDLE).unwrap(), Ttl::MAX);
        NewSession::new(
            environment.hashing_key.session_id(&token),
            "u1",
            idle,
            absolute,
            SessionLimit::Reject(1_000),
        )
    }

    #[tokio::test]
    async fn ended_sessions_leave_no_trace_in_the_index_even_if_their_id_comes_again() {
        let clock = ManualClock::new();
        let environment = Environment::system().clock(Arc::new(clock.clone()));
        let (handle, state) = (Handle::new(environment.clone(), 0), Arc::default());
        let (store, service) = (MemorySessions::new(&handle, &state), Name::new("app").unwrap());
        let mut sessions: Vec<_> = (0..100).map(|_| session(&environment)).collect();
        for new in &sessions {
            let created = store.create(&service, new.clone()).await.unwrap();
            assert!(matches!(created, CreateOutcome::Created { .. }));
        }
        clock.advance(IDLE);
        // The last to be cleared away comes again before that.
        let again = sessions.pop().unwrap();
        let created = store.create(&service, again.clone()).await.unwrap();
        assert!(matches!(created, CreateOutcome::Created { record, .. } if record.version == 1));
        let listed = store.list(&service, "u1").await.unwrap();
        assert_eq!(listed.iter().map(|record| &record.id).collect::<Vec<_>>(), [&again.id]);
        // Any operation clears some away.
        for _ in 0..100 {
            assert_eq!(store.load(&service, &sessions[0].id).await.unwrap(), None);
        }
        assert_eq!(locked(&state).len(), 1);
        assert!(store.destroy(&service, &again.id).await.unwrap().is_some());
        let state = locked(&state);
        assert_eq!((state.len(), state.users()), (0, 0));
    }
}
