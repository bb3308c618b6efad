//! The session store.

use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use stanchion::Result;
use stanchion::key::Name;
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, SessionCapabilities, SessionId, SessionRecord,
    SessionStore, TouchOutcome,
};
use stanchion::time::Monotonic;

use super::state::State;
use crate::shared::{CONTRACT, Handle, NEVER_WAITS, locked};

#[derive(Debug)]
pub(crate) struct MemorySessions {
    handle: Arc<Handle>,
    state: Arc<Mutex<State>>,
}

impl MemorySessions {
    pub(crate) fn new(handle: &Arc<Handle>, state: &Arc<Mutex<State>>) -> Self {
        Self { handle: Arc::clone(handle), state: Arc::clone(state) }
    }

    /// The state at one instant, with a few of the ended sessions cleared away.
    fn state(&self) -> (MutexGuard<'_, State>, Monotonic) {
        let mut state = locked(&self.state);
        let now = self.handle.now();
        state.purge(now);
        (state, now)
    }
}

#[async_trait]
impl SessionStore for MemorySessions {
    fn capabilities(&self) -> SessionCapabilities {
        SessionCapabilities::new(CONTRACT).call_deadline(NEVER_WAITS)
    }

    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        self.handle.operate("session.create", || {
            self.capabilities().check_new(&session)?;
            let (mut state, now) = self.state();
            state.create(service, session, now, self.handle.wall())
        })
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.handle.operate("session.load", || {
            let (state, now) = self.state();
            Ok(state.record(&(service.clone(), id.clone()), now))
        })
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        self.handle.operate("session.patch", || {
            self.capabilities().check_bytes(patch.bytes())?;
            let (mut state, now) = self.state();
            Ok(state.patch(&(service.clone(), id.clone()), patch, now, self.handle.wall()))
        })
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        self.handle.operate("session.touch", || {
            let (mut state, now) = self.state();
            Ok(state.touch(&(service.clone(), id.clone()), now, self.handle.wall()))
        })
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.handle.operate("session.destroy", || {
            let (mut state, now) = self.state();
            Ok(state.end(&(service.clone(), id.clone()), now))
        })
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionRecord>> {
        self.handle.operate("session.list", || {
            SessionCapabilities::check_user(user)?;
            let (state, now) = self.state();
            let newest_first = state.live(service, user, now).into_iter().rev();
            Ok(newest_first.filter_map(|id| state.record(&id, now)).collect())
        })
    }

    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        self.handle.operate("session.destroy_all", || {
            SessionCapabilities::check_user(user)?;
            let (mut state, now) = self.state();
            let ended: Vec<_> =
                state.live(service, user, now).into_iter().filter(|id| Some(&id.1) != except).collect();
            for id in &ended {
                state.end(id, now);
            }
            Ok(ended.into_iter().map(|id| id.1).collect())
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
