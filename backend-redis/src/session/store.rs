//! The session store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use stanchion::cache::Watch;
use stanchion::changes::{ChangeFeed, ChangeWatcher, ChangedKeys};
use stanchion::key::{Name, Namespace, bucket_of};
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionLimit, SessionOutbox, SessionRecord, SessionStore, SessionSummary,
    TouchOutcome,
};
use stanchion::{Error, Result};

use super::between::{Pauses, is_between};
use super::bounds::Bounds;
use super::replies::{created, found, ids_of, listed, patched, rotated, successor, texts};
use super::single::end_one;
use super::split::{MOST_ROUNDS, SplitSessions, UserKeys};
use super::stored::{Change, Fields, lives};
use crate::command::{Call, Script};
use crate::connect::is_split;
use crate::feed::Feed;
use crate::shared::{CONTRACT, Shared};
use crate::{reply, scripts};

#[derive(Debug)]
pub(crate) struct RedisSessions {
    pub(super) shared: Arc<Shared>,
    pub(super) bounds: Bounds,
    /// `None` where changes of sessions are not sent: nothing publishes them, and the server may not track them.
    feed: Option<Feed>,
}

impl RedisSessions {
    pub(crate) fn new(shared: &Arc<Shared>, feed: Option<&Feed>) -> Self {
        let bounds = Bounds::new(SessionBounds::NONE);
        Self { shared: Arc::clone(shared), bounds, feed: feed.cloned() }
    }

    /// The keys of a user's sessions.
    fn of_user(&self, call: Call, service: &Name, user: &str) -> Result<UserKeys> {
        let (layout, bucket) = (self.shared.layout(), bucket_of(user));
        let index = layout.session_index(service, user).map_err(|error| call.named(error))?;
        let stem = layout.sessions(service, bucket);
        let owner = index[stem.len() + "u:".len()..].to_owned();
        let (expiries, outbox) = (layout.expiries(service, bucket), layout.outbox(service, bucket));
        Ok(UserKeys { index, stem: stem + "s:", expiries, outbox, owner })
    }

    /// The keys of a session that is nobody's.
    fn of_nobody(&self, service: &Name, id: &SessionId) -> UserKeys {
        let (layout, bucket) = (self.shared.layout(), id.bucket());
        let (expiries, outbox) = (layout.expiries(service, bucket), layout.outbox(service, bucket));
        let stem = layout.sessions(service, bucket) + "s:";
        UserKeys { index: String::new(), stem, expiries, outbox, owner: String::new() }
    }

    /// Ends what is under an id, unless it leads to another one; the reply in the form of the script.
    async fn end_under(&self, call: Call, service: &Name, id: &SessionId) -> Result<Value> {
        let (layout, bucket) = (self.shared.layout(), id.bucket());
        let (key, stem) = (layout.session(service, id), layout.sessions(service, bucket));
        let (expiries, outbox) = (layout.expiries(service, bucket), layout.outbox(service, bucket));
        let (keys, hash) = ([key.as_str(), &expiries, &outbox, &stem], id.hash_text());
        let args = [self.bounds.arg(), hash.as_bytes()];
        let destroy = scripts::SESSION_DESTROY.with(&keys, &args).answering_split();
        match self.shared.client.step(call, destroy).await {
            Err(error) if is_split(&error) => {
                Box::pin(end_one(&self.shared, &self.bounds, call, id, [keys[0], keys[1]])).await
            }
            reply => reply,
        }
    }

    /// What a script says of a session by its id, or of the one that it leads to since it was rotated; and the id under which
    /// that was found.
    async fn find(
        &self,
        call: Call,
        script: &'static Script,
        service: &Name,
        id: &SessionId,
    ) -> Result<(SessionId, Value)> {
        let (client, mut id) = (&self.shared.client, id.clone());
        let args = [self.bounds.arg()];
        let found = client.within(call, |call| async move {
            for _ in 0..=Rotation::MAX_HOPS {
                let key = self.shared.layout().session(service, &id);
                let ask = || async { client.step(call, script.with(&[&key], &args)).await };
                let reply = self.decided(call, ask).await?;
                match successor(&id, &reply) {
                    Some(next) => id = next,
                    None => return Ok((id, reply)),
                }
            }
            Ok((id, Value::Nil))
        });
        found.await
    }

    /// The reply, asked for again while it says that a session is about to go on under this id, and does not yet.
    async fn decided<F>(&self, call: Call, ask: impl Fn() -> F) -> Result<Value>
    where
        F: Future<Output = Result<Value>>,
    {
        let reply = ask().await?;
        if !is_between(&reply) {
            return Ok(reply);
        }
        let pauses = Pauses::of(&self.shared, call);
        loop {
            pauses.next().await?;
            let reply = ask().await?;
            if !is_between(&reply) {
                return Ok(reply);
            }
        }
    }

    /// [`find`](Self::find), as a record.
    async fn find_record(
        &self,
        call: Call,
        script: &'static Script,
        service: &Name,
        id: &SessionId,
    ) -> Result<Option<SessionRecord>> {
        let (id, reply) = self.find(call, script, service, id).await?;
        found(call, &id, self.bounds.values, reply)
    }

    /// Creates a session that is nobody's.
    async fn open(&self, call: Call, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        let (key, lives, fields) =
            (self.shared.layout().session(service, &session.id), lives(&session), Fields::of_new(&session));
        let mut args = vec![self.bounds.arg()];
        args.extend(lives.iter().map(String::as_bytes));
        args.extend(fields.args());
        let reply = self.shared.client.run(call, scripts::SESSION_OPEN.with(&[&key], &args)).await?;
        created(session.clone(), reply).ok_or_else(|| call.unexpected())
    }

    /// The same sessions, while their keys may be split between two nodes.
    fn split(&self, call: Call, user: &str, keys: &UserKeys) -> SplitSessions {
        let (shared, bounds) = (Arc::clone(&self.shared), self.bounds.clone());
        SplitSessions { shared, bounds, call, user: user.to_owned(), keys: keys.clone() }
    }
}

#[async_trait]
impl SessionStore for RedisSessions {
    fn capabilities(&self) -> SessionCapabilities {
        SessionCapabilities::new(CONTRACT).call_deadline(self.shared.deadline)
    }

    fn outbox(&self) -> Option<&dyn SessionOutbox> {
        Some(self)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        self.feed.is_some().then_some(self as &dyn ChangeFeed)
    }

    fn bounded(&self, bounds: SessionBounds) -> Arc<dyn SessionStore> {
        let feed = self.feed.clone();
        Arc::new(Self { shared: Arc::clone(&self.shared), bounds: Bounds::new(bounds), feed })
    }

    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        let call = Call::write("session.create");
        self.capabilities().check_new(&session).map_err(|error| call.named(error))?;
        if session.anonymous {
            return self.open(call, service, session).await;
        }
        let room = match session.limit {
            SessionLimit::Reject(_) => "none",
            SessionLimit::EvictOldest(_) => "oldest",
            SessionLimit::EvictLeastRecent(_) => "least_recent",
            other => return Err(call.named(Error::unsupported(format!("the limit {other:?} is not known")))),
        };
        let key = self.shared.layout().session(service, &session.id);
        let of_user = &self.of_user(call, service, &session.user)?;
        let (hash, lives, count) =
            (session.id.hash_text(), lives(&session), session.limit.count().to_string());
        let mut args = vec![self.bounds.arg(), hash.as_bytes(), session.user.as_bytes()];
        args.extend(lives.iter().map(String::as_bytes));
        args.extend([count.as_bytes(), room.as_bytes()]);
        let (replaced, version) = match &session.replaces {
            Some(of) => (of.id.hash_text(), of.version.to_string()),
            None => Default::default(),
        };
        let publish = if session.publish { "1" } else { "" };
        args.extend([&replaced, &version, &of_user.owner, publish].map(str::as_bytes));
        let fields = Fields::of_new(&session);
        args.extend(fields.args());
        let keys = [key.as_str(), &of_user.index, &of_user.stem, &of_user.expiries, &of_user.outbox];
        let create = || scripts::SESSION_CREATE.with(&keys, &args).answering_split();
        let (client, new) = (&self.shared.client, &session);
        let outcome = client.within(call, |call| async move {
            match self.decided(call, || client.step(call, create())).await {
                Err(error) if is_split(&error) => {
                    Box::pin(self.split(call, &new.user, of_user).create(new.clone())).await
                }
                reply => created(new.clone(), reply?).ok_or_else(|| call.unexpected()),
            }
        });
        outcome.await
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.find_record(Call::read("session.load"), &scripts::SESSION_LOAD, service, id).await
    }

    async fn use_session(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.find_record(Call::write("session.use"), &scripts::SESSION_USE, service, id).await
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        let call = Call::write("session.patch");
        let can = self.capabilities();
        can.check_patch(patch).map_err(|error| call.named(error))?;
        let key = self.shared.layout().session(service, id);
        let change = Change::new(can, patch);
        let mut args = vec![self.bounds.arg()];
        args.extend(change.args());
        let (client, keys) = (&self.shared.client, [key.as_str()]);
        let patch = || scripts::SESSION_PATCH.with(&keys, &args);
        let patching = client
            .within(call, |call| async move { self.decided(call, || client.step(call, patch())).await });
        let reply = patching.await?;
        let outcome = patched(can, reply).ok_or_else(|| call.unexpected())?;
        outcome.map_err(|error| call.named(error))
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        let call = Call::write("session.touch");
        match self.find(call, &scripts::SESSION_TOUCH, service, id).await? {
            // It has ended.
            (_, Value::Nil | Value::Array(_)) => Ok(TouchOutcome::Gone),
            (_, reply) => {
                let left = reply::count(reply).ok_or_else(|| call.unexpected())?;
                Ok(TouchOutcome::Touched { expires_in: Duration::from_micros(left) })
            }
        }
    }

    async fn rotate(
        &self,
        service: &Name,
        user: &str,
        id: &SessionId,
        rotation: &Rotation,
    ) -> Result<RotateOutcome> {
        let call = Call::write("session.rotate");
        let can = self.capabilities();
        can.check_rotation(id, rotation).map_err(|error| call.named(error))?;
        let layout = self.shared.layout();
        let (key, new_key) = (layout.session(service, id), layout.session(service, &rotation.to));
        let of_user = &match user {
            "" => self.of_nobody(service, id),
            // No session of this user has such an id.
            user if bucket_of(user) != id.bucket() => return Ok(RotateOutcome::Gone),
            user => self.of_user(call, service, user)?,
        };
        let mut keys = vec![key.as_str(), &new_key];
        if !user.is_empty() {
            keys.extend([of_user.index.as_str(), &of_user.expiries, &of_user.outbox]);
        }
        let change = Change::new(can, &rotation.patch);
        let grace = rotation.grace.as_millis().to_string();
        let texts =
            [id.hash_text(), rotation.to.hash_text(), rotation.to.to_string(), user.to_owned(), grace];
        let mut args = vec![self.bounds.arg()];
        args.extend(texts.iter().map(String::as_bytes));
        args.extend(change.args());
        let rotate = || scripts::SESSION_ROTATE.with(&keys, &args).answering_split();
        let client = &self.shared.client;
        let outcome = client.within(call, |call| async move {
            match self.decided(call, || client.step(call, rotate())).await {
                Err(error) if is_split(&error) => {
                    let split = self.split(call, user, of_user);
                    Box::pin(split.rotate(id.clone(), rotation.clone(), can)).await
                }
                reply => rotated(call, rotation, can, self.bounds.values, reply?)
                    .ok_or_else(|| call.unexpected())?,
            }
        });
        outcome.await
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        let (call, id) = (Call::write("session.destroy"), id.clone());
        let ended = self.shared.client.within(call, |call| async move {
            let mut id = id;
            for _ in 0..=Rotation::MAX_HOPS {
                let end = || async { self.end_under(call, service, &id).await };
                let reply = self.decided(call, end).await?;
                match successor(&id, &reply) {
                    Some(next) => id = next,
                    None => return found(call, &id, self.bounds.values, reply),
                }
            }
            Ok(None)
        });
        ended.await
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionSummary>> {
        let call = Call::read("session.list");
        let of_user = &self.of_user(call, service, user)?;
        let keys = [of_user.index.as_str(), &of_user.stem, &of_user.expiries, &of_user.outbox];
        let args = [self.bounds.arg(), of_user.owner.as_bytes()];
        let list = || scripts::SESSION_LIST.with(&keys, &args).answering_split();
        let client = &self.shared.client;
        let records = client.within(call, |call| async move {
            let mut round = 0;
            loop {
                round += 1;
                let (between, records) = match client.step(call, list()).await {
                    Err(error) if is_split(&error) => {
                        return Box::pin(self.split(call, user, of_user).list()).await;
                    }
                    reply => listed(user, self.bounds.values, reply?).ok_or_else(|| call.unexpected())?,
                };
                if !between || round == MOST_ROUNDS {
                    return Ok(records);
                }
                Pauses::of(&self.shared, call).next().await?;
            }
        });
        records.await
    }

    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        let call = Call::write("session.destroy_all");
        let of_user = &self.of_user(call, service, user)?;
        let kept = except.map(SessionId::hash_text).unwrap_or_default();
        let keys = [of_user.index.as_str(), &of_user.stem, &of_user.expiries, &of_user.outbox];
        let (kept, args) = (&kept, [self.bounds.arg(), kept.as_bytes(), of_user.owner.as_bytes()]);
        let destroy = scripts::SESSION_DESTROY_ALL.with(&keys, &args).answering_split();
        let client = &self.shared.client;
        let ended = client.within(call, |call| async move {
            match client.step(call, destroy).await {
                Err(error) if is_split(&error) => {
                    Box::pin(self.split(call, user, of_user).destroy_all(kept.clone())).await
                }
                reply => texts(reply?).ok_or_else(|| call.unexpected()),
            }
        });
        Ok(ids_of(user, ended.await?))
    }
}

impl ChangeFeed for RedisSessions {
    fn watch(&self, service: &Name, watcher: Arc<dyn ChangeWatcher>) -> Result<Watch> {
        let call = Call::read("session.watch");
        let feed = self.feed.as_ref().ok_or_else(|| call.named(Error::unsupported("there is no feed")))?;
        let namespace = Namespace::new(service.as_str(), "session")?;
        // Beside the keys of sessions there are those of indexes and outboxes, in which every other colon is escaped.
        let watcher = ChangedKeys::new(watcher, |key| key.split_once(":s:").map(|(_, hash)| hash));
        feed.watch(&namespace, Arc::new(watcher)).map_err(|error| call.named(error))
    }
}
