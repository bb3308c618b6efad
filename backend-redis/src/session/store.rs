//! The session store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use redis::Value;
use stanchion::key::{Name, bucket_of};
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, SessionCapabilities, SessionId, SessionLimit,
    SessionRecord, SessionStore, TouchOutcome,
};
use stanchion::{Error, Result};

use super::replies::{DATA, created, found, ids_of, patched, readable, texts};
use super::split::SplitSessions;
use crate::command::Call;
use crate::connect::is_split;
use crate::shared::{CONTRACT, Shared};
use crate::{reply, scripts};

#[derive(Debug)]
pub(crate) struct RedisSessions(pub(crate) Arc<Shared>);

impl RedisSessions {
    /// The user's index, and what the keys of the sessions in it begin with.
    fn of_user(&self, call: Call, service: &Name, user: &str) -> Result<(String, String)> {
        let index = self.0.layout().session_index(service, user).map_err(|error| call.named(error))?;
        Ok((index, self.0.layout().sessions(service, bucket_of(user)) + "s:"))
    }

    /// The same sessions, while their keys may be split between two nodes.
    fn split(&self, call: Call, user: &str, index: &str, stem: &str) -> SplitSessions {
        let (index, stem) = (index.to_owned(), stem.to_owned());
        SplitSessions { shared: Arc::clone(&self.0), call, user: user.to_owned(), index, stem }
    }
}

#[async_trait]
impl SessionStore for RedisSessions {
    fn capabilities(&self) -> SessionCapabilities {
        SessionCapabilities::new(CONTRACT).call_deadline(self.0.deadline)
    }

    async fn create(&self, service: &Name, session: NewSession) -> Result<CreateOutcome> {
        let call = Call::write("session.create");
        self.capabilities().check_new(&session).map_err(|error| call.named(error))?;
        let room = match session.limit {
            SessionLimit::Reject(_) => "none",
            SessionLimit::EvictOldest(_) => "oldest",
            SessionLimit::EvictLeastRecent(_) => "least_recent",
            other => return Err(call.named(Error::unsupported(format!("the limit {other:?} is not known")))),
        };
        let key = self.0.layout().session(service, &session.id);
        let (index, stem) = self.of_user(call, service, &session.user)?;
        let numbers = [
            session.idle.as_millis().to_string(),
            session.absolute.as_millis().to_string(),
            session.limit.count().to_string(),
        ];
        let hash = session.id.hash_text();
        let mut args = vec![hash.as_bytes(), session.user.as_bytes()];
        args.extend(numbers.iter().map(String::as_bytes));
        args.push(room.as_bytes());
        let names: Vec<_> = session.data.keys().map(|name| [DATA, name].concat()).collect();
        for (name, value) in names.iter().zip(session.data.values()) {
            args.extend([name.as_bytes(), value.as_ref()]);
        }
        let keys = [key.as_str(), &index, &stem];
        let create = scripts::SESSION_CREATE.with(&keys, &args).answering_split();
        let (client, new) = (&self.0.client, &session);
        let outcome = client.within(call, |call| async move {
            match client.step(call, create).await {
                Err(error) if is_split(&error) => {
                    let split = self.split(call, &new.user, keys[1], keys[2]);
                    Box::pin(split.create(new.clone())).await
                }
                reply => created(new.clone(), reply?).ok_or_else(|| call.unexpected()),
            }
        });
        outcome.await
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        let call = Call::read("session.load");
        let key = self.0.layout().session(service, id);
        let reply = self.0.client.run(call, scripts::SESSION_LOAD.with(&[&key], &[])).await?;
        found(call, id, reply)
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        let call = Call::write("session.patch");
        self.capabilities().check_bytes(patch.bytes()).map_err(|error| call.named(error))?;
        let key = self.0.layout().session(service, id);
        let expected = patch.expected_version.map(|version| version.to_string()).unwrap_or_default();
        let setting = (2 * patch.set.len()).to_string();
        let mut args = vec![expected.as_bytes(), setting.as_bytes()];
        let names: Vec<_> = patch.set.keys().map(|name| [DATA, name].concat()).collect();
        for (name, value) in names.iter().zip(patch.set.values()) {
            args.extend([name.as_bytes(), value.as_ref()]);
        }
        let removed: Vec<_> = patch.remove.iter().map(|name| [DATA, name].concat()).collect();
        args.extend(removed.iter().map(String::as_bytes));
        let reply = self.0.client.run(call, scripts::SESSION_PATCH.with(&[&key], &args)).await?;
        patched(reply).ok_or_else(|| call.unexpected())
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        let call = Call::write("session.touch");
        let key = self.0.layout().session(service, id);
        match self.0.client.run(call, scripts::SESSION_TOUCH.with(&[&key], &[])).await? {
            Value::Nil => Ok(TouchOutcome::Gone),
            reply => {
                let left = reply::count(reply).ok_or_else(|| call.unexpected())?;
                Ok(TouchOutcome::Touched { expires_in: Duration::from_micros(left) })
            }
        }
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        let call = Call::write("session.destroy");
        let key = self.0.layout().session(service, id);
        let reply = self.0.client.run(call, scripts::SESSION_DESTROY.with(&[&key], &[])).await?;
        found(call, id, reply)
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionRecord>> {
        let call = Call::read("session.list");
        let (index, stem) = self.of_user(call, service, user)?;
        let keys = [index.as_str(), &stem];
        let list = scripts::SESSION_LIST.with(&keys, &[]).answering_split();
        let client = &self.0.client;
        let records = client.within(call, |call| async move {
            match client.step(call, list).await {
                Err(error) if is_split(&error) => {
                    Box::pin(self.split(call, user, keys[0], keys[1]).list()).await
                }
                reply => listed(user, reply?).ok_or_else(|| call.unexpected()),
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
        let (index, stem) = self.of_user(call, service, user)?;
        let kept = except.map(SessionId::hash_text).unwrap_or_default();
        let keys = [index.as_str(), &stem];
        let (kept, args) = (&kept, [kept.as_bytes()]);
        let destroy = scripts::SESSION_DESTROY_ALL.with(&keys, &args).answering_split();
        let client = &self.0.client;
        let ended = client.within(call, |call| async move {
            match client.step(call, destroy).await {
                Err(error) if is_split(&error) => {
                    let split = self.split(call, user, keys[0], keys[1]);
                    Box::pin(split.destroy_all(kept.clone())).await
                }
                reply => texts(reply?).ok_or_else(|| call.unexpected()),
            }
        });
        Ok(ids_of(user, ended.await?))
    }
}

/// The reply to listing.
fn listed(user: &str, reply: Value) -> Option<Vec<SessionRecord>> {
    let mut items = reply::array(reply)?.into_iter();
    let now = items.next().and_then(reply::count)?;
    let pairs = std::iter::from_fn(|| Some((items.next()?, items.next()?)));
    Some(readable(user, now, pairs))
}
