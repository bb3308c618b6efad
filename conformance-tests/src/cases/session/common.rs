//! What the cases share.

use stanchion::key::Name;
use stanchion::random::SystemRandom;
use stanchion::session::{
    CreateOutcome, HashingKey, NewSession, Patch, PatchOutcome, SessionId, SessionLimit, SessionRecord,
    SessionStore, SessionToken, TouchOutcome,
};
use stanchion::time::Ttl;

use crate::Outcome;
use crate::check::{fail, name, same};

pub(super) fn service() -> Outcome<Name> {
    name("auth")
}

pub(super) fn id_for(user: &str) -> Outcome<SessionId> {
    Ok(HashingKey::unkeyed().session_id(&SessionToken::generate(user, &SystemRandom)?))
}

pub(super) const PLENTY: SessionLimit = SessionLimit::Reject(100);

pub(super) fn new(user: &str) -> Outcome<NewSession> {
    Ok(NewSession::new(id_for(user)?, user, Ttl::MAX, Ttl::MAX, PLENTY))
}

pub(super) async fn create(store: &dyn SessionStore, session: NewSession) -> Outcome<SessionRecord> {
    match store.create(&service()?, session).await? {
        CreateOutcome::Created { record, evicted, .. } => {
            same(evicted, Vec::new(), "nobody evicted")?;
            Ok(record)
        }
        other => fail("created", other),
    }
}

pub(super) async fn open(store: &dyn SessionStore, user: &str) -> Outcome<SessionId> {
    Ok(create(store, new(user)?).await?.id)
}

pub(super) async fn is_gone(store: &dyn SessionStore, id: &SessionId) -> Outcome {
    let service = service()?;
    same(store.load(&service, id).await?, None, "loading what has ended")?;
    same(store.use_session(&service, id).await?, None, "using what has ended")?;
    same(store.touch(&service, id).await?, TouchOutcome::Gone, "touching what has ended")?;
    let patch = Patch::new().set("a", "b");
    same(store.patch(&service, id, &patch).await?, PatchOutcome::Gone, "patching what has ended")?;
    same(store.load(&service, id).await?, None, "loading it after touch and patch")?;
    same(store.destroy(&service, id).await?, None, "ending what has ended")
}

pub(super) async fn ids(store: &dyn SessionStore, user: &str) -> Outcome<Vec<SessionId>> {
    Ok(store.list(&service()?, user).await?.into_iter().map(|session| session.id).collect())
}
