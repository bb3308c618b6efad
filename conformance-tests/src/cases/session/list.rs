//! The sessions of a user.

use std::time::Duration;

use stanchion::session::{
    CreateOutcome, Device, Patch, PatchOutcome, SessionLimit, SessionRecord, SessionSummary,
};

use super::common::{create, ids, new, open, service};
use crate::check::{fail, same};
use crate::{Context, Outcome};

pub(super) async fn a_users_sessions_are_listed_newest_first(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let mut opened = Vec::new();
    for n in 0..5 {
        opened.push(open(&*if n % 2 == 0 { here.clone() } else { there.clone() }, "u1").await?);
        open(&*here, &format!("u1{n}")).await?;
    }
    // Now the oldest is the one that was used last.
    cx.advance(Duration::from_millis(1)).await;
    let _used = here.touch(&service()?, &opened[0]).await?;
    opened.reverse();
    same(ids(&*there, "u1").await?, opened.clone(), "by creation, the newest first")?;
    same(ids(&*there, "nobody").await?, Vec::new(), "nobody's sessions")?;
    let loaded = there.load(&service()?, &opened[0]).await?.map(SessionRecord::into_summary);
    let listed = there.list(&service()?, "u1").await?.remove(0);
    let times =
        |summary: SessionSummary| (summary.created_at, summary.last_used_at, summary.absolute_deadline);
    same(loaded.map(times), Some(times(listed)), "the times of a listed session")
}

pub(super) async fn sessions_of_one_instant_are_in_order(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let mut opened = Vec::new();
    // Where time is driven it stands still; elsewhere they are as near to each other as calls can be.
    for _ in 0..16 {
        opened.push(open(&*store, "u1").await?);
    }
    let newest_first: Vec<_> = opened.iter().rev().cloned().collect();
    same(ids(&*store, "u1").await?, newest_first, "of one instant, the newest first")?;
    let mut one_more = new("u1")?;
    one_more.limit = SessionLimit::EvictOldest(14);
    match store.create(&service()?, one_more).await? {
        CreateOutcome::Created { evicted, .. } => {
            same(evicted, opened[..3].to_vec(), "of one instant, those created first make room")
        }
        other => fail("created", other),
    }
}

pub(super) async fn a_list_shows_the_devices(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let phone = Device::new().label("Phone é {x}").address("2001:db8::1");
    let record = create(&*here, new("u1")?.device(phone.clone())).await?;
    same(&record.device, &phone, "the device of a new session")?;
    open(&*here, "u1").await?;
    let devices = async || -> Outcome<Vec<Device>> {
        Ok(there.list(&service()?, "u1").await?.into_iter().map(|session| session.device).collect())
    };
    same(devices().await?, vec![Device::new(), phone], "the devices, as they were created")?;
    let moved = Patch::new().device(Device::new().address("Berlin"));
    same(there.patch(&service()?, &record.id, &moved).await?, PatchOutcome::Saved { version: 2 }, "a patch")?;
    let renewed = Device::new().label("Phone é {x}").address("Berlin");
    same(devices().await?, vec![Device::new(), renewed.clone()], "the devices, with another address")?;
    let loaded = here.load(&service()?, &record.id).await?;
    let loaded = loaded.map(|record| (record.device, record.data.len()));
    same(loaded, Some((renewed, 0)), "the device, which is no field")
}
