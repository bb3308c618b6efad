//! Sessions of nobody yet.

use std::collections::BTreeMap;

use bytes::Bytes;
use stanchion::ErrorKind;
use stanchion::random::SystemRandom;
use stanchion::session::{
    CreateOutcome, Device, HashingKey, NewSession, Patch, PatchOutcome, SessionId, SessionToken,
};
use stanchion::time::Ttl;

use super::common::{create, id_for, ids, is_gone, open, service};
use crate::check::{fail, refused, same};
use crate::{Context, Outcome};

pub(super) fn anonymous() -> Outcome<NewSession> {
    let id: SessionId = HashingKey::unkeyed().session_id(&SessionToken::anonymous(&SystemRandom)?);
    Ok(NewSession::anonymous(id, Ttl::MAX, Ttl::MAX))
}

pub(super) async fn a_session_of_nobody_is_like_any_and_in_no_list(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.session_store()?, cx.open().await?.session_store()?);
    let service = service()?;
    let data = BTreeMap::from([("cart".to_owned(), Bytes::from_static(b"[1]"))]);
    let session = anonymous()?.data(data.clone()).device(Device::new().label("Phone"));
    let created = create(&*here, session.clone()).await?;
    same((created.user.as_str(), created.is_anonymous()), ("", true), "the user of a session of nobody")?;
    let used = there.use_session(&service, &created.id).await?;
    let used = used.map(|record| (record.user, record.data, record.version, record.device));
    same(used, Some((String::new(), data, 1, created.device.clone())), "the session as it is used")?;
    same(here.create(&service, session).await?, CreateOutcome::IdTaken, "the same id again")?;
    let patch = Patch::new().set("cart", "[1,2]");
    same(there.patch(&service, &created.id, &patch).await?, PatchOutcome::Saved { version: 2 }, "a patch")?;
    // Any number of them, and none of a user.
    for _ in 0..3 {
        create(&*here, anonymous()?).await?;
    }
    let own = open(&*here, "u1").await?;
    same(ids(&*here, "u1").await?, vec![own], "the sessions of a user")?;
    refused(there.list(&service, "").await, ErrorKind::InvalidInput, "listing those of nobody")?;
    refused(there.destroy_all(&service, "", None).await, ErrorKind::InvalidInput, "ending those of nobody")?;
    match here.destroy(&service, &created.id).await? {
        Some(ended) => same((ended.user.as_str(), ended.version), ("", 2), "what was ended")?,
        None => return fail("the session", "none"),
    }
    is_gone(&*there, &created.id).await?;
    let mut of_somebody = anonymous()?;
    "u1".clone_into(&mut of_somebody.user);
    refused(
        here.create(&service, of_somebody).await,
        ErrorKind::InvalidInput,
        "an anonymous session of a user",
    )?;
    let mut nameless = anonymous()?;
    nameless.anonymous = false;
    nameless.id = id_for("")?;
    refused(here.create(&service, nameless).await, ErrorKind::InvalidInput, "a session of no user")
}
