//! Issuing, using, ending and evicting sessions, in every order of their steps: nothing that was issued outlives its session. And
//! steps in a wrong order, to see that this would be found.
#![cfg(feature = "jwt")]
#![expect(clippy::unwrap_used, reason = "these are tests")]

mod explore;
mod gate;
mod pairs;
#[path = "../support/mod.rs"]
mod support;
mod world;
mod wrong;

use std::time::Duration;

use stanchion::prelude::*;
use stanchion::session::{OpenedSession, Resumed, Rotated};
use stanchion::token::{IssuedPair, LogInAttempt};

use explore::{Explored, Operation, explore};
use world::{Token, World};

fn issue(world: &World, opened: &OpenedSession) -> Operation {
    let (world, session) = (world.clone(), opened.session.clone());
    Box::pin(async move {
        let issued = world.sessions.issue(&world.tokens, &session, IssueOptions::new()).await.unwrap();
        if let IssueOutcome::Issued(token) = issued {
            world.issued(session.id(), Token::Signed(token.token));
        }
    })
}

fn issue_pair(world: &World, opened: &OpenedSession) -> Operation {
    let (world, session) = (world.clone(), opened.session.clone());
    Box::pin(async move {
        let issued = world.sessions.issue_pair(&world.tokens, &session, IssueOptions::new()).await.unwrap();
        if let IssueOutcome::Issued(pair) = issued {
            world.issued_pair(session.id(), pair);
        }
    })
}

/// A pair from before everything begins.
async fn pair(world: &World, opened: &OpenedSession) -> IssuedPair {
    let issued = world.sessions.issue_pair(&world.tokens, &opened.session, IssueOptions::new()).await;
    let pair = issued.unwrap().issued().unwrap();
    world.issued_pair(opened.session.id(), pair.clone());
    pair
}

fn refresh(world: &World, opened: &OpenedSession, pair: &IssuedPair) -> Operation {
    let (world, id, token) = (world.clone(), opened.session.id().clone(), pair.refresh.reveal());
    Box::pin(async move {
        let refreshed = world.sessions.refresh(&world.tokens, &token).await.unwrap();
        if let Some(pair) = refreshed.pair() {
            world.issued_pair(&id, pair);
        }
    })
}

fn destroy(world: &World, opened: &OpenedSession) -> Operation {
    let (sessions, token) = (world.sessions.clone(), opened.token.clone());
    Box::pin(async move { _ = sessions.destroy(&token).await.unwrap() })
}

/// Begins to end the session, and is dropped at any time.
fn destroy_and_leave(world: &World, opened: &OpenedSession) -> Operation {
    let (world, token) = (world.clone(), opened.token.clone());
    Box::pin(async move {
        tokio::select! {
            ended = world.sessions.destroy(&token) => drop(ended.unwrap()),
            () = world.gate.step("leave") => {}
        }
    })
}

fn destroy_all(world: &World) -> Operation {
    let sessions = world.sessions.clone();
    Box::pin(async move { _ = sessions.destroy_all("u1", None).await.unwrap() })
}

/// Opens a session, which evicts the other.
fn create(world: &World) -> Operation {
    let world = world.clone();
    Box::pin(async move { _ = world.open().await })
}

/// The same, and is dropped at any time.
fn create_and_leave(world: &World) -> Operation {
    let world = world.clone();
    Box::pin(async move {
        tokio::select! {
            _ = world.open() => {}
            () = world.gate.step("leave") => {}
        }
    })
}

fn log_in(world: &World, attempt: &LogInAttempt) -> Operation {
    let (world, attempt) = (world.clone(), attempt.clone());
    Box::pin(async move {
        if let OpenOutcome::Opened(opened) = world.sessions.create_for(&attempt, Patch::new()).await.unwrap()
        {
            world.opened_late(opened.session.id());
            issue(&world, &opened).await;
        }
    })
}

fn authenticate(world: &World, opened: &OpenedSession) -> Operation {
    let (sessions, text) = (world.sessions.clone(), opened.token.reveal());
    Box::pin(async move { _ = sessions.authenticate(&text).await.unwrap() })
}

fn patch(world: &World, opened: &OpenedSession) -> Operation {
    let (sessions, token) = (world.sessions.clone(), opened.token.clone());
    Box::pin(async move {
        let _ = sessions.patch(&token, &Patch::new().set("theme", "dark")).await.unwrap();
    })
}

/// Gives the session another name, and issues a token under that.
fn rotate(world: &World, opened: &OpenedSession, grace: Duration) -> Operation {
    let (world, token) = (world.clone(), opened.token.clone());
    Box::pin(async move {
        let rotated = world.sessions.rotate(&token, Patch::new(), grace).await.unwrap();
        if let Rotated::Rotated { session: Resumed::User(session), .. } = rotated {
            let issued = world.sessions.issue(&world.tokens, &session, IssueOptions::new()).await.unwrap();
            if let IssueOutcome::Issued(token) = issued {
                world.issued(session.id(), Token::Signed(token.token));
            }
        }
    })
}

#[track_caller]
fn right(explored: &Explored, at_least: usize) {
    assert!(explored.wrong.is_none(), "{explored:#?}");
    assert!(explored.orders >= at_least, "only {} orders", explored.orders);
}

#[tokio::test]
async fn issue_and_destroy() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), destroy(&world, &opened)]
    });
    right(&explored.await, 9);
}

#[tokio::test]
async fn issue_twice_and_destroy() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), destroy(&world, &opened), issue(&world, &opened)]
    });
    right(&explored.await, 200);
}

#[tokio::test]
async fn issue_refresh_and_destroy() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), authenticate(&world, &opened), destroy(&world, &opened)]
    });
    // To use a session is one step.
    right(&explored.await, 100);
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), patch(&world, &opened), destroy(&world, &opened)]
    });
    right(&explored.await, 80);
}

#[tokio::test]
async fn issue_and_a_destroy_whose_caller_leaves() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), destroy_and_leave(&world, &opened)]
    });
    right(&explored.await, 50);
}

#[tokio::test]
async fn issue_and_evict() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), create(&world)]
    });
    right(&explored.await, 5);
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), create_and_leave(&world)]
    });
    right(&explored.await, 15);
}

#[tokio::test]
async fn issue_evict_and_destroy() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), create(&world), destroy(&world, &opened)]
    });
    right(&explored.await, 150);
}

#[tokio::test]
async fn issue_destroy_all_and_evict() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), destroy_all(&world), create(&world)]
    });
    right(&explored.await, 300);
}

#[tokio::test]
async fn issue_destroy_and_destroy_all() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue(&world, &opened), destroy(&world, &opened), destroy_all(&world)]
    });
    right(&explored.await, 1_000);
}

#[tokio::test]
async fn a_log_in_that_has_begun_and_destroy_all() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        let attempt = world.sessions.begin("u1").await.unwrap();
        vec![issue(&world, &opened), log_in(&world, &attempt), destroy_all(&world)]
    });
    right(&explored.await, 1_000);
}

#[tokio::test]
async fn issue_and_rotate() {
    for grace in [Duration::ZERO, Sessions::ROTATION_GRACE] {
        let explored = explore(|world| async move {
            let opened = world.open().await;
            vec![issue(&world, &opened), rotate(&world, &opened, grace)]
        });
        right(&explored.await, 20);
    }
}

#[tokio::test]
async fn rotate_and_destroy() {
    for grace in [Duration::ZERO, Sessions::ROTATION_GRACE] {
        let explored = explore(|world| async move {
            let opened = world.open().await;
            vec![rotate(&world, &opened, grace), destroy(&world, &opened)]
        });
        right(&explored.await, 50);
        let explored = explore(|world| async move {
            let opened = world.open().await;
            vec![rotate(&world, &opened, grace), destroy_all(&world)]
        });
        right(&explored.await, 50);
        let explored = explore(|world| async move {
            let opened = world.open().await;
            vec![rotate(&world, &opened, grace), create(&world)]
        });
        right(&explored.await, 15);
    }
}
