//! Callers that write down what they are answered.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use stanchion::key::{Key, Name};
use stanchion::lock::{AcquireOutcome, LockRequest, LockToken};
use stanchion::random::{Random, SystemRandom};
use stanchion::session::{CreateOutcome, HashingKey, NewSession, SessionId, SessionLimit, SessionToken};
use stanchion::stores::Stores;
use stanchion::time::Ttl;
use stanchion::token::{TokenFacts, Verdict};
use stanchion_conformance::history::{Answer, History};
use tokio::task::JoinSet;

use crate::support::{eventually, get, set};

/// How many callers there are of each kind.
const CALLERS: usize = 4;
const PACE: Duration = Duration::from_millis(10);

/// Callers at work.
pub(crate) struct Work {
    stop: Arc<AtomicBool>,
    callers: JoinSet<Used>,
}

/// What they have changed, and has to be looked at.
#[derive(Default)]
pub(crate) struct Used {
    keys: Vec<Key>,
    sessions: Vec<SessionId>,
    tokens: Vec<String>,
}

#[derive(Clone)]
struct Caller {
    number: usize,
    stores: Stores,
    history: History,
    stop: Arc<AtomicBool>,
}

fn service() -> Name {
    Name::new("auth").unwrap()
}

fn hour() -> Ttl {
    Ttl::new(Duration::from_hours(1)).unwrap()
}

fn facts(jti: &str) -> TokenFacts {
    TokenFacts::new(jti, vec![])
}

impl Work {
    pub(crate) fn begin(stores: &Stores, history: &History) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let mut callers = JoinSet::new();
        for number in 0..CALLERS {
            let (stores, history, stop) = (stores.clone(), history.clone(), Arc::clone(&stop));
            let caller = Caller { number, stores, history, stop };
            callers.spawn(caller.clone().values());
            callers.spawn(caller.clone().sessions());
            callers.spawn(caller.clone().tokens());
            callers.spawn(caller.locks());
        }
        Self { stop, callers }
    }

    pub(crate) async fn end(mut self) -> Used {
        self.stop.store(true, Ordering::SeqCst);
        let mut all = Used::default();
        while let Some(used) = self.callers.join_next().await {
            let used = used.unwrap();
            all.keys.extend(used.keys);
            all.sessions.extend(used.sessions);
            all.tokens.extend(used.tokens);
        }
        all
    }
}

impl Caller {
    /// Until it is to stop.
    async fn goes_on(&self) -> bool {
        self.stores.environment().sleep(PACE).await;
        !self.stop.load(Ordering::SeqCst)
    }

    async fn values(self) -> Used {
        let key = Key::new("cache", "history", format!("k{}", self.number)).unwrap();
        let mut version = 0_u64;
        while self.goes_on().await {
            version += 1;
            let written = set(&self.stores, &key, &version.to_string()).await;
            self.history.wrote(key.as_str(), version, Answer::of(&written));
        }
        Used { keys: vec![key], ..Used::default() }
    }

    /// Every other one is destroyed.
    async fn sessions(self) -> Used {
        let store = self.stores.session_store().unwrap();
        let mut sessions = Vec::new();
        while self.goes_on().await {
            let user = format!("u{}-{}", self.number, sessions.len());
            let token = SessionToken::generate(&user, &SystemRandom).unwrap();
            let id = HashingKey::unkeyed().session_id(&token);
            let session = NewSession::new(id.clone(), &user, hour(), hour(), SessionLimit::Reject(1));
            let created = store.create(&service(), session).await;
            if let Ok(outcome) = &created {
                assert!(matches!(outcome, CreateOutcome::Created { .. }), "{outcome:?}");
            }
            self.history.began(&name_of(&id), Answer::of(&created));
            if sessions.len() % 2 == 0 {
                let destroyed = store.destroy(&service(), &id).await;
                self.history.ended(&name_of(&id), Answer::of(&destroyed));
            }
            sessions.push(id);
        }
        Used { sessions, ..Used::default() }
    }

    /// They are good without the store's doing, until they are revoked.
    async fn tokens(self) -> Used {
        let store = self.stores.token_store().unwrap();
        let mut tokens = Vec::new();
        while self.goes_on().await {
            let jti = format!("t{}-{}", self.number, tokens.len());
            self.history.began(&jti, Answer::Done);
            let revoked = store.revoke(&service(), &jti, hour()).await;
            self.history.ended(&jti, Answer::of(&revoked));
            tokens.push(jti);
        }
        Used { tokens, ..Used::default() }
    }

    async fn locks(self) -> Used {
        let locker = self.stores.locker().unwrap();
        let name = format!("l{}", self.number);
        let key = Key::new("locks", "lock", &name).unwrap();
        // What is in doubt ends soon by itself.
        let lease = Ttl::new(Duration::from_millis(500)).unwrap();
        while self.goes_on().await {
            let mut token = [0; 16];
            SystemRandom.fill(&mut token).unwrap();
            let request = LockRequest::new(key.clone(), LockToken::new(token), lease);
            if let Ok(AcquireOutcome::Acquired(lease)) = locker.acquire(&request).await {
                self.history.granted(&name, lease.fence.get());
                // It ends by itself if this fails.
                let _ = locker.release(&lease).await;
            }
        }
        Used::default()
    }
}

/// For people: the hash of a session's token is no secret.
fn name_of(id: &SessionId) -> String {
    format!("session {id:?}")
}

impl Used {
    /// Writes down what is there of all that they have changed.
    pub(crate) async fn look(&self, stores: &Stores, history: &History) {
        for key in &self.keys {
            let value = eventually("a read", || get(stores, key)).await;
            history.read(key.as_str(), value.map(|version| version.parse().unwrap()));
        }
        let store = stores.session_store().unwrap();
        for id in &self.sessions {
            let found = eventually("a session", async || store.load(&service(), id).await).await;
            history.seen(&name_of(id), found.is_some());
        }
        let store = stores.token_store().unwrap();
        for jti in &self.tokens {
            let verdict = eventually("a token", async || store.check(&service(), &facts(jti)).await).await;
            history.seen(jti, matches!(verdict, Verdict::Active));
        }
    }
}
