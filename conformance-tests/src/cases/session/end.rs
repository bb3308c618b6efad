//! Ending one, and all of a user.

use std::collections::BTreeSet;

use futures_util::future::try_join_all;

use super::common::{ids, is_gone, open, service};
use crate::check::same;
use crate::{Context, Outcome};

pub(super) async fn what_was_destroyed_stays_destroyed(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let id = open(&*here, "u1").await?;
    let other = open(&*here, "u1").await?;
    let ended = there.destroy(&service()?, &id).await?.map(|record| (record.id, record.user));
    same(ended, Some((id.clone(), "u1".to_owned())), "what was ended")?;
    is_gone(&*here, &id).await?;
    same(ids(&*here, "u1").await?, vec![other], "the user's other session")
}

pub(super) async fn all_but_one_are_ended(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let mut opened = BTreeSet::new();
    for _ in 0..4 {
        opened.insert(open(&*here, "u1").await?);
    }
    let other = open(&*here, "u2").await?;
    let kept = opened.first().cloned();
    let ended = there.destroy_all(&service()?, "u1", kept.as_ref()).await?;
    let expected: Vec<_> = opened.iter().filter(|id| Some(*id) != kept.as_ref()).cloned().collect();
    same(ended.into_iter().collect::<BTreeSet<_>>(), expected.iter().cloned().collect(), "the ended ones")?;
    for id in &expected {
        is_gone(&*here, id).await?;
    }
    same(ids(&*here, "u1").await?, kept.into_iter().collect(), "the one that was kept")?;
    same(there.destroy_all(&service()?, "u1", None).await?.len(), 1, "the rest")?;
    same(there.destroy_all(&service()?, "u1", None).await?, Vec::new(), "nothing is left")?;
    same(ids(&*here, "u2").await?, vec![other], "another user's sessions")
}

pub(super) async fn of_a_race_to_end_a_session_one_is_told(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let (service, id) = (service()?, open(&*here, "u1").await?);
    let racing = (0..20).map(|n| if n % 2 == 0 { &here } else { &there }.destroy(&service, &id));
    let told = try_join_all(racing).await?.into_iter().flatten().count();
    same(told, 1, "told of 20 at once that they ended it")
}
