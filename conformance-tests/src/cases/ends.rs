//! Sessions that end, and what was issued within them, on the stores of one bundle.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, try_join};
use stanchion::key::Name;
use stanchion::session::{
    DestroyOutcome, OpenOutcome, OpenedSession, Patch, SessionId, SessionLimit, SessionStore, Sessions,
};
use stanchion::token::{Mark, Scope, TokenFacts, TokenStore, Tokens, Verdict};

use crate::check::{ensure, fail, name, same};
use crate::{Context, Outcome};

const LIFE: Duration = Duration::from_mins(15);

/// One process of a service, as far as it has sessions and tokens.
struct Process {
    service: Name,
    session_store: Arc<dyn SessionStore>,
    token_store: Arc<dyn TokenStore>,
    tokens: Tokens,
    sessions: Sessions,
}

impl Process {
    /// `None` if the backend lacks one of both.
    async fn open(cx: &Context, limit: u32) -> Outcome<Option<Self>> {
        let stores = cx.open().await?;
        let (Ok(session_store), Ok(token_store)) = (stores.session_store(), stores.token_store()) else {
            return Ok(None);
        };
        let service = name("auth")?;
        let stores = stores.service(service.as_str())?;
        let tokens = stores.tokens().max_life(LIFE).build()?;
        let sessions =
            stores.sessions().limit(SessionLimit::EvictOldest(limit)).revoking_tokens(&tokens).build()?;
        Ok(Some(Self { service, session_store, token_store, tokens, sessions }))
    }

    async fn log_in(&self, user: &str) -> Outcome<OpenedSession> {
        let expected = "a session, since others make room";
        match self.sessions.create(user, Patch::new()).await? {
            Some(opened) => Ok(opened),
            None => fail(expected, "none"),
        }
    }

    /// What [`Sessions::issue`] does before it signs: reads the epochs, and then looks whether the session is alive.
    async fn issue(&self, user: &str, session: &SessionId) -> Outcome<Option<TokenFacts>> {
        let scopes = [Scope::Service, Scope::User(user.to_owned()), Scope::Session(session.to_string())];
        let epochs = self.token_store.epochs(&self.service, &scopes).await?;
        if self.session_store.load(&self.service, session).await?.is_none() {
            return Ok(None);
        }
        let marks = scopes.into_iter().zip(epochs.into_iter().map(Mark::Epoch)).collect();
        Ok(Some(TokenFacts::new("j1", marks)))
    }

    async fn is_accepted(&self, token: &TokenFacts) -> Outcome<bool> {
        Ok(self.tokens.check(token).await? == Verdict::Active)
    }
}

/// How a session ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Destroyed,
    AllDestroyed,
    Evicted,
}

pub(super) async fn nothing_issued_outlives_its_session(cx: &Context) -> Outcome {
    let (Some(here), Some(there)) = (Process::open(cx, 1).await?, Process::open(cx, 1).await?) else {
        return Ok(());
    };
    for round in 0..12 {
        for end in [End::Destroyed, End::AllDestroyed, End::Evicted] {
            let user = format!("u{round}");
            let opened = here.log_in(&user).await?;
            let id = opened.session.id();
            let before = here.issue(&user, id).await?;
            ensure(before.is_some(), "a token within a live session", "none")?;
            // The other process looks the session up now and then, so that a copy of its own would be found out.
            let issuing = async {
                let mut issued = Vec::new();
                for _ in 0..4 {
                    issued.extend(there.issue(&user, id).await?);
                }
                Outcome::Ok(issued)
            };
            let ending = async {
                match end {
                    End::Destroyed => here.sessions.destroy(&opened.token).await.map(drop)?,
                    End::AllDestroyed => here.sessions.destroy_all(&user, None).await.map(drop)?,
                    End::Evicted => here.log_in(&user).await.map(drop)?,
                }
                Outcome::Ok(())
            };
            let (issued, ()) = try_join(issuing, ending).await?;
            for token in before.iter().chain(&issued) {
                let accepted = there.is_accepted(token).await?;
                same(accepted, false, &format!("a token whose session has ended is accepted, {end:?}"))?;
            }
            same(
                there.issue(&user, id).await?.is_none(),
                true,
                &format!("nothing is issued after the end, {end:?}"),
            )?;
        }
    }
    Ok(())
}

pub(super) async fn strangers_end_nothing(cx: &Context) -> Outcome {
    let Some(process) = Process::open(cx, 10).await? else {
        return Ok(());
    };
    let opened = process.log_in("u1").await?;
    let id = opened.session.id();
    let token = process.issue("u1", id).await?;
    same(
        process.sessions.destroy_id("u2", id).await?,
        DestroyOutcome::Gone,
        "ending another user's session",
    )?;
    ensure(process.sessions.load(&opened.token).await?.is_some(), "it lives on", "gone")?;
    if let Some(token) = &token {
        same(process.is_accepted(token).await?, true, "its token is accepted")?;
    }
    same(process.sessions.destroy_id("u1", id).await?, DestroyOutcome::Destroyed, "ending one's own")?;
    let scope = Scope::Session(id.to_string());
    let epochs = process.token_store.epochs(&process.service, std::slice::from_ref(&scope)).await?;
    same(process.sessions.destroy(&opened.token).await?, DestroyOutcome::Gone, "ending what is not there")?;
    let after = process.token_store.epochs(&process.service, &[scope]).await?;
    same(after, epochs, "the epoch of a session that is not there, after ending it")
}

pub(super) async fn a_log_in_that_had_begun_is_stale(cx: &Context) -> Outcome {
    let (Some(here), Some(there)) = (Process::open(cx, 10).await?, Process::open(cx, 10).await?) else {
        return Ok(());
    };
    for round in 0..12 {
        let user = format!("u{round}");
        let attempt = here.sessions.begin(&user).await?;
        let (opened, ended) =
            join(here.sessions.create_for(&attempt, Patch::new()), there.sessions.destroy_all(&user, None))
                .await;
        ended?;
        let opened = opened?;
        let left = there.sessions.list(&user).await?.len();
        same(
            left,
            0,
            &format!("sessions of a log-in that began before the end of all, which was {opened:?}"),
        )?;
        let again = here.sessions.create_for(&attempt, Patch::new()).await?;
        ensure(matches!(again, OpenOutcome::Stale), "the log-in is stale", again)?;
        let attempt = here.sessions.begin(&user).await?;
        let after = here.sessions.create_for(&attempt, Patch::new()).await?;
        ensure(matches!(after, OpenOutcome::Opened(_)), "a log-in that begins after", after)?;
    }
    Ok(())
}
