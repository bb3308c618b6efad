//! Services, users and places.

use stanchion::session::TouchOutcome;

use super::common::{ids, open, service};
use crate::check::{ensure, name, same};
use crate::{Context, Outcome};

pub(super) async fn services_stay_apart(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let id = open(&*store, "u1").await?;
    let other = name("other")?;
    same(store.load(&other, &id).await?, None, "loading at another service")?;
    same(store.touch(&other, &id).await?, TouchOutcome::Gone, "touching at another service")?;
    same(store.destroy(&other, &id).await?, None, "ending at another service")?;
    same(store.list(&other, "u1").await?, Vec::new(), "listing at another service")?;
    same(store.destroy_all(&other, "u1", None).await?, Vec::new(), "ending all at another service")?;
    ensure(store.load(&service()?, &id).await?.is_some(), "the session is still there", "none")
}

pub(super) async fn places_stay_apart(cx: &Context) -> Outcome {
    let (here, elsewhere) = (cx.open().await?.session_store()?, cx.elsewhere().await?.session_store()?);
    let id = open(&*here, "u1").await?;
    same(elsewhere.load(&service()?, &id).await?, None, "loading elsewhere")?;
    same(elsewhere.destroy_all(&service()?, "u1", None).await?, Vec::new(), "ending all elsewhere")?;
    same(ids(&*here, "u1").await?, vec![id], "the session is still there")
}

pub(super) async fn users_stay_apart(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let users = ["a", "A", "a:b", "a%3Ab", "{a}", "a*", "a b", "é", "a\n"];
    for user in users {
        open(&*store, user).await?;
    }
    for user in users {
        let listed = store.list(&service()?, user).await?;
        same(
            listed.into_iter().map(|session| session.user).collect(),
            vec![user.to_owned()],
            "one session of each",
        )?;
    }
    Ok(())
}
