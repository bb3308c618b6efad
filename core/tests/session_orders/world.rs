//! Sessions and tokens behind a gate, and what must be so when all is done.

use std::sync::{Arc, Mutex};

use stanchion::key::Name;
use stanchion::prelude::*;
use stanchion::session::{OpenedSession, SessionStore};
use stanchion::token::{IssuedPair, Mark, Reason, RefreshPolicy, TokenFacts, TokenStore};

use crate::gate::{Gate, Gated};
use crate::support::manual;

const SECRET: &[u8] = b"0123456789abcdef0123456789abcdef";

/// A token as its holder has it.
#[derive(Debug, Clone)]
pub(crate) enum Token {
    Signed(String),
    /// Of an issuer that goes another way.
    Other(TokenFacts),
}

#[derive(Clone)]
pub(crate) struct World {
    pub(crate) gate: Arc<Gate>,
    pub(crate) sessions: Sessions,
    pub(crate) tokens: Tokens,
    pub(crate) session_store: Arc<dyn SessionStore>,
    pub(crate) token_store: Arc<dyn TokenStore>,
    issued: Arc<Mutex<Vec<(SessionId, Token)>>>,
    /// Refresh tokens, as their holders have them.
    refresh: Arc<Mutex<Vec<(SessionId, String)>>>,
    /// Log-ins that began before everything was ended.
    late: Arc<Mutex<Vec<SessionId>>>,
}

pub(crate) fn app() -> Name {
    Name::new("app").unwrap()
}

impl World {
    pub(crate) fn new() -> Self {
        let (backend, _) = manual();
        let (right, gate) = (backend.stores(), Arc::new(Gate::default()));
        let session_store: Arc<dyn SessionStore> =
            Arc::new(Gated { gate: Arc::clone(&gate), inner: right.session_store().unwrap() });
        let token_store: Arc<dyn TokenStore> =
            Arc::new(Gated { gate: Arc::clone(&gate), inner: right.token_store().unwrap() });
        let stores = Stores::builder(right.environment().clone())
            .backend(Arc::new(backend.clone()))
            .sessions(Arc::clone(&session_store))
            .tokens(Arc::clone(&token_store))
            .build();
        let key = JwtKey::hs256("k1", SECRET).unwrap();
        let tokens = stores.tokens().max_life(minutes(15)).key(key).refreshing(RefreshPolicy::new());
        let tokens = tokens.build().unwrap();
        let sessions = stores.sessions().limit(SessionLimit::EvictOldest(1)).revoking_tokens(&tokens);
        let sessions = sessions.build().unwrap();
        let (issued, refresh, late) = Default::default();
        Self { gate, sessions, tokens, session_store, token_store, issued, refresh, late }
    }

    pub(crate) async fn open(&self) -> OpenedSession {
        self.sessions.create("u1", Patch::new()).await.unwrap().unwrap()
    }

    pub(crate) fn issued(&self, session: &SessionId, token: Token) {
        self.issued.lock().unwrap().push((session.clone(), token));
    }

    pub(crate) fn issued_pair(&self, session: &SessionId, pair: IssuedPair) {
        self.issued(session, Token::Signed(pair.access.token));
        self.refresh.lock().unwrap().push((session.clone(), pair.refresh.reveal()));
    }

    pub(crate) fn opened_late(&self, session: &SessionId) {
        self.late.lock().unwrap().push(session.clone());
    }

    /// Nothing that was issued outlives its session, nothing is revoked whose session is alive, and no log-in that began before
    /// everything was ended has a session.
    pub(crate) async fn is_right(&self) -> Result<(), String> {
        // Under this name, and no other that it leads to.
        let alive = async |id: &SessionId| {
            self.session_store.load(&app(), id).await.unwrap().is_some_and(|record| record.id == *id)
        };
        let (issued, late) = (self.issued.lock().unwrap().clone(), self.late.lock().unwrap().clone());
        for (session, token) in issued {
            let is_revoked = match &token {
                Token::Signed(text) => match self.tokens.verify(text).await {
                    Ok(_) => false,
                    Err(VerifyError::Revoked(Reason::Scope(_))) => true,
                    Err(error) => return Err(error.to_string()),
                },
                Token::Other(facts) => self.tokens.check(facts).await.unwrap() != Verdict::Active,
            };
            match (alive(&session).await, is_revoked) {
                (false, false) => return Err("a token holds, and its session has ended".to_owned()),
                (true, true) => return Err("a token is revoked, and its session is alive".to_owned()),
                _ => {}
            }
        }
        let refresh = self.refresh.lock().unwrap().clone();
        for (session, token) in refresh {
            let refreshed = self.sessions.refresh(&self.tokens, &token).await.unwrap();
            if refreshed.pair().is_some() && !alive(&session).await {
                return Err("a refresh token is answered, and its session has ended".to_owned());
            }
        }
        for session in late {
            if alive(&session).await {
                return Err("a log-in that began before the end of all has a session".to_owned());
            }
        }
        Ok(())
    }
}

/// A token that something else issues, with the epochs that it has read.
pub(crate) async fn other_token(world: &World, session: &SessionId) -> Token {
    let scopes = [Scope::User("u1".to_owned()), Scope::Session(session.to_string())];
    let epochs = world.token_store.epochs(&app(), &scopes).await.unwrap();
    let marks = scopes.into_iter().zip(epochs.into_iter().map(Mark::Epoch)).collect();
    Token::Other(TokenFacts::new("j1", marks))
}
