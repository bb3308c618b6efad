//! Sessions.

use super::PROCESSES;
use crate::check::{name, same};
use crate::child::{Task, race};
use crate::{Context, Outcome};

const LIMIT: u32 = 5;

pub(in crate::cases) async fn no_limit_is_exceeded(cx: &Context) -> Outcome {
    let mut children = cx.children(PROCESSES).await?;
    let (sessions, service) = (cx.open().await?.session_store()?, name("auth")?);
    for (user, evicts) in [("reject", false), ("evict", true)] {
        let create = |_| Task::Create { user: user.into(), limit: LIMIT, evicts, times: 2 * LIMIT };
        let created: Vec<u32> = race(&mut children, create).await?;
        let listed = sessions.list(&service, user).await?;
        same(listed.len().to_string(), LIMIT.to_string(), &format!("sessions of the user, {user}"))?;
        for session in listed {
            let loaded = sessions.load(&service, &session.id).await?.map(|loaded| loaded.id);
            same(loaded, Some(session.id), "a listed session is there")?;
        }
        let all = 2 * LIMIT * u32::try_from(PROCESSES).unwrap_or_default();
        let expected = if evicts { all } else { LIMIT };
        same(created.iter().sum::<u32>(), expected, &format!("created by all processes, {user}"))?;
    }
    Ok(())
}
