//! What is refused.

use std::collections::BTreeMap;

use bytes::Bytes;
use stanchion::ErrorKind;
use stanchion::key::MAX_IDENTIFIER;
use stanchion::session::{Device, NewSession, Patch, SessionLimit};
use stanchion::time::Ttl;

use super::common::{PLENTY, create, id_for, new, service};
use crate::check::{refused, same};
use crate::{Context, Outcome};

pub(super) async fn bad_arguments_are_refused(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let can = store.capabilities();
    let mut bad = Vec::new();
    for limit in [
        SessionLimit::Reject(0),
        SessionLimit::EvictOldest(0),
        SessionLimit::EvictLeastRecent(can.max_per_user + 1),
    ] {
        let mut session = new("u1")?;
        session.limit = limit;
        bad.push(("a limit out of bounds", session));
    }
    bad.push((
        "an id of another user",
        NewSession::new(id_for("somebody else")?, "u1", Ttl::MAX, Ttl::MAX, PLENTY),
    ));
    bad.push(("no user", new("")?));
    let long = "l".repeat(Device::MAX_TEXT + 1);
    bad.push(("an overlong label", new("u1")?.device(Device::new().label(&long))));
    bad.push(("an overlong address", new("u1")?.device(Device::new().address(&long))));
    bad.push(("an overlong user", new(&"u".repeat(MAX_IDENTIFIER + 1))?));
    let large = Bytes::from(vec![0; can.max_data_bytes]);
    bad.push(("too much data", new("u1")?.data(BTreeMap::from([("a".to_owned(), large.clone())]))));
    for (what, session) in bad {
        refused(store.create(&service()?, session.clone()).await, ErrorKind::InvalidInput, what)?;
        same(store.load(&service()?, &session.id).await?, None, "nothing was created")?;
    }
    let mut most = new("u1")?;
    most.limit = SessionLimit::Reject(can.max_per_user);
    let id = create(&*store, most).await?.id;
    let relabelled = Patch::new().device(Device::new().label(long));
    refused(store.patch(&service()?, &id, &relabelled).await, ErrorKind::InvalidInput, "an overlong label")?;
    let patch = Patch::new().set("a", large);
    refused(
        store.patch(&service()?, &id, &patch).await,
        ErrorKind::InvalidInput,
        "a patch with too much data",
    )?;
    same(
        store.load(&service()?, &id).await?.map(|record| record.version),
        Some(1),
        "the version after that",
    )?;
    refused(store.list(&service()?, "").await, ErrorKind::InvalidInput, "listing no user")?;
    refused(store.destroy_all(&service()?, "", None).await, ErrorKind::InvalidInput, "ending all of no user")
}
