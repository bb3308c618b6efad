//! Being notified of revocations, where a store has a feed of them.

use std::sync::Arc;

use stanchion::cache::Watch;
use stanchion::key::Name;
use stanchion::time::Ttl;
use stanchion::token::{Scope, TokenStore, revocation_name};

use super::change_feed::{self, Recorder};
use crate::check::{name, same};
use crate::{Context, Outcome};

const LONG: Ttl = Ttl::MAX;

/// A watch from which on every revocation is notified; `None` where the store has no feed.
async fn watched(
    store: &dyn TokenStore,
    service: &Name,
    jtis: &[&str],
) -> Outcome<Option<(Watch, Arc<Recorder>)>> {
    let Some(feed) = store.feed() else { return Ok(None) };
    let names: Vec<_> = jtis.iter().map(|jti| revocation_name(jti)).collect();
    let revoke = async |index: usize| Ok(store.revoke(service, jtis[index], LONG).await?);
    change_feed::watched(feed, service, &names, revoke).await.map(Some)
}

/// Tokens for each server of a cluster.
const SAMPLES: [&str; 12] = ["s0", "s1", "s2", "s3", "s4", "s5", "s6", "s7", "s8", "s9", "s10", "s11"];

pub(super) async fn each_revocation_is_notified(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.token_store()?, cx.open().await?.token_store()?);
    let service = name("auth")?;
    let Some((_watch, recorder)) = watched(&*there, &service, &SAMPLES).await? else { return Ok(()) };
    for store in [&here, &there] {
        for jti in ["j1", "j:2", "j{3}"] {
            let revoke = async { Ok(store.revoke(&service, jti, LONG).await?) };
            recorder.notifies("a revocation of", &revocation_name(jti), revoke).await?;
        }
        for scope in [
            Scope::Service,
            Scope::User("a:b{c}".to_owned()),
            Scope::Session("s 1".to_owned()),
            Scope::Client("c1".to_owned()),
            Scope::LogIn("u1".to_owned()),
        ] {
            let revoke = async { Ok(store.revoke_all(&service, &scope, LONG).await.map(drop)?) };
            recorder.notifies("a revocation of", &scope.segment()?, revoke).await?;
        }
    }
    Ok(())
}

pub(super) async fn a_new_floor_is_notified(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.token_store()?, cx.open().await?.token_store()?);
    let service = name("auth")?;
    let Some((_watch, recorder)) = watched(&*there, &service, &SAMPLES).await? else { return Ok(()) };
    let floor = async { Ok(here.floor(&service).await.map(drop)?) };
    recorder.notifies("a new floor of", &Scope::Service.segment()?, floor).await
}

pub(super) async fn a_watch_is_of_one_service(cx: &Context) -> Outcome {
    let store = cx.open().await?.token_store()?;
    let (service, other) = (name("auth")?, name("auth-2")?);
    let Some((watch, recorder)) = watched(&*store, &service, &SAMPLES).await? else { return Ok(()) };
    store.revoke(&other, "j1", LONG).await?;
    let _epoch = store.revoke_all(&other, &Scope::Service, LONG).await?;
    // On each server of a cluster: what comes after there is heard after.
    for jti in SAMPLES {
        let revoke = async { Ok(store.revoke(&service, jti, LONG).await?) };
        recorder.notifies("a revocation of", &revocation_name(jti), revoke).await?;
    }
    same(recorder.heard("service"), 0, "notifications of another service's epoch")?;
    drop(watch);
    let before = recorder.news().len();
    let Some((_watch, second)) = watched(&*store, &service, &[]).await? else { return Ok(()) };
    let revoke = async { Ok(store.revoke(&service, "j1", LONG).await?) };
    second.notifies("a revocation of", &revocation_name("j1"), revoke).await?;
    same(recorder.news().len(), before, "what a watcher was notified of, after its watch was dropped")
}
