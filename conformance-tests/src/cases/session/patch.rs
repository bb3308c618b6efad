//! Changing fields.

use std::collections::BTreeMap;

use bytes::Bytes;
use futures_util::future::try_join_all;
use stanchion::session::{Patch, PatchOutcome};

use super::common::{create, new, open, service};
use crate::check::same;
use crate::{Context, Outcome};

pub(super) async fn a_patch_changes_what_it_names_and_no_more(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let data = ["keep", "change", "remove"].map(|field| (field.to_owned(), Bytes::from_static(b"old")));
    let id = create(&*here, new("u1")?.data(BTreeMap::from(data))).await?.id;
    let patch = Patch::new().set("change", "new").set("add", "new").remove("remove").remove("never");
    same(there.patch(&service()?, &id, &patch).await?, PatchOutcome::Saved { version: 2 }, "a patch")?;
    let both = Patch::new().remove("both").set("both", "set");
    same(here.patch(&service()?, &id, &both).await?, PatchOutcome::Saved { version: 3 }, "a second patch")?;
    let expected = [("add", "new"), ("both", "set"), ("change", "new"), ("keep", "old")];
    let expected = expected.map(|(field, value)| (field.to_owned(), Bytes::from_static(value.as_bytes())));
    let loaded = here.load(&service()?, &id).await?;
    same(
        loaded.map(|record| (record.data, record.version)),
        Some((BTreeMap::from(expected), 3)),
        "fields and version",
    )
}

pub(super) async fn a_patch_on_an_old_version_changes_nothing(cx: &Context) -> Outcome {
    let store = cx.open().await?.session_store()?;
    let id = open(&*store, "u1").await?;
    let first = Patch::new().set("a", "1").expecting(1);
    same(
        store.patch(&service()?, &id, &first).await?,
        PatchOutcome::Saved { version: 2 },
        "the version expected",
    )?;
    for stale in [1, 3, u64::MAX] {
        let patch = Patch::new().set("a", "2").remove("a").expecting(stale);
        same(
            store.patch(&service()?, &id, &patch).await?,
            PatchOutcome::Conflict { version: 2 },
            "another version",
        )?;
    }
    let loaded = store.load(&service()?, &id).await?;
    same(loaded.and_then(|record| record.data.get("a").cloned()), Some(Bytes::from_static(b"1")), "the field")
}

pub(super) async fn of_a_race_to_patch_a_version_one_wins(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let id = open(&*here, "u1").await?;
    let (service, patch) = (service()?, Patch::new().set("a", "x").expecting(1));
    let racing = (0..20).map(|n| if n % 2 == 0 { &here } else { &there }.patch(&service, &id, &patch));
    let saved =
        try_join_all(racing).await?.into_iter().filter(|o| matches!(o, PatchOutcome::Saved { .. })).count();
    same(saved, 1, "saved of 20 patches of one version at once")?;
    let blind: Vec<_> = (0..20).map(|n| Patch::new().set(format!("f{n}"), "x")).collect();
    try_join_all(blind.iter().map(|patch| there.patch(&service, &id, patch))).await?;
    let loaded = here.load(&service, &id).await?.map(|record| (record.data.len(), record.version));
    same(loaded, Some((21, 22)), "fields and version after 20 more patches at once")
}
