//! Steps in a wrong order. Each must be found.

use stanchion::prelude::*;
use stanchion::session::{CreateOutcome, NewSession, OpenedSession};
use stanchion::time::Ttl;

use crate::explore::{Explored, Operation, explore};
use crate::world::{World, app, other_token};
use crate::{destroy, destroy_all, issue};

/// Finds the session alive, and then reads the epochs.
fn issue_late(world: &World, opened: &OpenedSession) -> Operation {
    let (world, id) = (world.clone(), opened.session.id().clone());
    Box::pin(async move {
        if world.session_store.load(&app(), &id).await.unwrap().is_some() {
            let token = other_token(&world, &id).await;
            world.issued(&id, token);
        }
    })
}

/// Never looks whether the session is alive.
fn issue_blindly(world: &World, opened: &OpenedSession) -> Operation {
    let (world, id) = (world.clone(), opened.session.id().clone());
    Box::pin(async move {
        let token = other_token(&world, &id).await;
        world.issued(&id, token);
    })
}

async fn revoke(world: &World, id: &SessionId) {
    let scope = Scope::Session(id.to_string());
    world.token_store.revoke_all(&app(), &scope, Ttl::MAX).await.unwrap();
}

/// Revokes before the end, and not after.
fn destroy_once(world: &World, opened: &OpenedSession) -> Operation {
    let (world, id) = (world.clone(), opened.session.id().clone());
    Box::pin(async move {
        revoke(&world, &id).await;
        world.session_store.destroy(&app(), &id).await.unwrap();
    })
}

/// Evicts, and revokes nothing.
fn create_alone(world: &World) -> Operation {
    let world = world.clone();
    Box::pin(async move {
        let token = SessionToken::generate("u1", &stanchion::random::SeededRandom::new(9)).unwrap();
        let limit = SessionLimit::EvictOldest(1);
        let session = NewSession::new(world.sessions.id(&token), "u1", Ttl::MAX, Ttl::MAX, limit);
        let created = world.session_store.create(&app(), session).await.unwrap();
        assert!(matches!(created, CreateOutcome::Created { .. }));
    })
}

/// Looks whether the log-in is stale, and then creates.
fn log_in_unchecked(world: &World) -> Operation {
    let world = world.clone();
    Box::pin(async move {
        let scopes = [Scope::LogIn("u1".to_owned())];
        if world.token_store.epochs(&app(), &scopes).await.unwrap() == [stanchion::token::Epoch::NEVER] {
            let opened = world.open().await;
            world.opened_late(opened.session.id());
        }
    })
}

#[track_caller]
fn found(explored: &Explored, what: &str) {
    let (steps, wrong) = explored.wrong.as_ref().unwrap();
    assert!(wrong.contains(what), "{wrong}, after {steps:?}");
}

const OUTLIVES: &str = "a token holds, and its session has ended";

#[tokio::test]
async fn epochs_that_are_read_after_the_session() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue_late(&world, &opened), destroy(&world, &opened)]
    });
    found(&explored.await, OUTLIVES);
}

#[tokio::test]
async fn a_session_that_nobody_looks_up() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue_blindly(&world, &opened), destroy(&world, &opened)]
    });
    found(&explored.await, OUTLIVES);
}

#[tokio::test]
async fn a_revocation_before_the_end_alone() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), destroy_once(&world, &opened)]
    });
    found(&explored.await, OUTLIVES);
}

#[tokio::test]
async fn an_eviction_without_revocation() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), create_alone(&world)]
    });
    found(&explored.await, OUTLIVES);
}

#[tokio::test]
async fn a_log_in_that_is_looked_at_before_it_has_a_session() {
    let explored = explore(|world| async move { vec![log_in_unchecked(&world), destroy_all(&world)] });
    found(&explored.await, "a log-in that began before the end of all has a session");
}
