//! Refresh tokens within a session, in every order of the steps that use and end it.

use stanchion::session::Sessions;

use crate::explore::explore;
use crate::{create, destroy, destroy_all, destroy_and_leave, issue_pair, pair, refresh, right, rotate};

#[tokio::test]
async fn issue_a_pair_and_destroy() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue_pair(&world, &opened), destroy(&world, &opened)]
    });
    right(&explored.await, 20);
    let explored = explore(|world| async move {
        let opened = world.open().await;
        vec![issue_pair(&world, &opened), destroy_and_leave(&world, &opened)]
    });
    right(&explored.await, 50);
}

#[tokio::test]
async fn refresh_and_destroy() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        let pair = pair(&world, &opened).await;
        vec![refresh(&world, &opened, &pair), destroy(&world, &opened)]
    });
    right(&explored.await, 20);
}

#[tokio::test]
async fn refresh_twice_and_destroy() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        let pair = pair(&world, &opened).await;
        vec![refresh(&world, &opened, &pair), refresh(&world, &opened, &pair), destroy(&world, &opened)]
    });
    right(&explored.await, 500);
}

#[tokio::test]
async fn refresh_and_destroy_all_or_evict() {
    let explored = explore(|world| async move {
        let opened = world.open().await;
        let pair = pair(&world, &opened).await;
        vec![refresh(&world, &opened, &pair), destroy_all(&world)]
    });
    right(&explored.await, 20);
    let explored = explore(|world| async move {
        let opened = world.open().await;
        let pair = pair(&world, &opened).await;
        vec![refresh(&world, &opened, &pair), create(&world)]
    });
    right(&explored.await, 5);
}

#[tokio::test]
async fn refresh_and_rotate_the_session() {
    for grace in [std::time::Duration::ZERO, Sessions::ROTATION_GRACE] {
        let explored = explore(|world| async move {
            let opened = world.open().await;
            let pair = pair(&world, &opened).await;
            vec![refresh(&world, &opened, &pair), rotate(&world, &opened, grace)]
        });
        right(&explored.await, 20);
    }
}
