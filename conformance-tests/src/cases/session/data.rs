//! How much a session holds.

use std::collections::BTreeMap;

use bytes::Bytes;
use stanchion::ErrorKind;
use stanchion::session::{Patch, PatchOutcome};

use super::common::{create, new, open, service};
use crate::check::{refused, same};
use crate::{Context, Outcome};

fn saved(version: u64) -> PatchOutcome {
    PatchOutcome::Saved { version }
}

pub(super) async fn what_a_session_holds_is_bounded_in_total(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let (can, service) = (store.capabilities(), service()?);
    // Three quarters of what may be, with the names.
    let quarter = Bytes::from(vec![0; can.max_data_bytes / 4 - 1]);
    let data = ["a", "b", "c"].map(|name| (name.to_owned(), quarter.clone()));
    let id = create(&*store, new("u1")?.data(BTreeMap::from(data))).await?.id;
    let more = Bytes::from(vec![0; can.max_data_bytes / 4]);
    let patch = Patch::new().set("d", more.clone());
    let outcome = store.patch(&service, &id, &patch).await;
    refused(outcome, ErrorKind::InvalidInput, "a patch with which it would hold too much")?;
    let loaded = store.load(&service, &id).await?.map(|record| (record.version, record.data.len()));
    same(loaded, Some((1, 3)), "the session after that")?;
    same(store.patch(&service, &id, &Patch::new().set("d", quarter)).await?, saved(2), "up to the bound")?;
    let instead = Patch::new().remove("a").set("b", "").set("e", more);
    same(store.patch(&service, &id, &instead).await?, saved(3), "in place of what is removed and replaced")
}

pub(super) async fn the_number_of_fields_is_bounded(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let (can, service) = (store.capabilities(), service()?);
    let id = open(&*store, "u1").await?;
    let fields = |prefix: &str, count: usize| {
        (0..count).fold(Patch::new(), |patch, n| patch.set(format!("{prefix}{n}"), ""))
    };
    same(store.patch(&service, &id, &fields("a", can.max_fields)).await?, saved(2), "as many as may be")?;
    let outcome = store.patch(&service, &id, &fields("b", 1)).await;
    refused(outcome, ErrorKind::InvalidInput, "one field more")?;
    same(store.patch(&service, &id, &fields("a", 1)).await?, saved(3), "one of them again")?;
    let renamed = fields("b", 1).remove("a0");
    same(store.patch(&service, &id, &renamed).await?, saved(4), "one in place of another")
}

pub(super) async fn names_to_be_removed_are_bounded(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let (can, service) = (store.capabilities(), service()?);
    let id = open(&*store, "u1").await?;
    let removing = |names: usize, length: usize| {
        (0..names).fold(Patch::new(), |patch, n| patch.remove(format!("{n:0length$}")))
    };
    let outcome = store.patch(&service, &id, &removing(can.max_fields + 1, 5)).await;
    refused(outcome, ErrorKind::InvalidInput, "removing too many names")?;
    let long = can.max_data_bytes / 64;
    let outcome = store.patch(&service, &id, &removing(65, long)).await;
    refused(outcome, ErrorKind::InvalidInput, "removing names that are too long together")?;
    let loaded = store.load(&service, &id).await?.map(|record| record.version);
    same(loaded, Some(1), "the version after that")
}
