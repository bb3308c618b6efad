//! Sessions whose fields are encrypted at rest.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};

use super::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionId, SessionOutbox, SessionRecord, SessionStore, SessionSummary, TouchOutcome,
};
use crate::changes::ChangeFeed;
use crate::encryption::Keyring;
use crate::environment::Environment;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Name;
use crate::random::Random;

/// What an encrypted value begins with: no JSON does.
const MARK: [u8; 2] = [0xB5, 1];

/// How often a rotation is tried that others' changes come before.
const ATTEMPTS: usize = 8;

/// How fields of sessions are encrypted: with which keys, and whether values that are not encrypted are read as well.
#[derive(Debug, Clone)]
pub struct SessionEncryption {
    keyring: Keyring,
    reads_plain: bool,
}

impl SessionEncryption {
    /// With these keys. What is not encrypted with one of them can't be read: calls that name its session answer
    /// [`Codec`](ErrorKind::Codec).
    pub const fn new(keyring: Keyring) -> Self {
        Self { keyring, reads_plain: false }
    }

    /// Values that are not encrypted are read as well, for as long as sessions live that were created before there was
    /// encryption. Until this is taken back, whoever can write to the store can put values there.
    #[must_use]
    pub const fn reading_plain(mut self) -> Self {
        self.reads_plain = true;
        self
    }

    pub(super) fn around(
        self,
        inner: Arc<dyn SessionStore>,
        environment: &Environment,
    ) -> Arc<dyn SessionStore> {
        Arc::new(Sealed { inner, encryption: self, random: Arc::clone(&environment.random) })
    }

    /// To what a value is bound, and which is not stored with it.
    fn bound(id: &SessionId, name: &str) -> BytesMut {
        let mut bound = BytesMut::from(&b"stanchion session field 1\0"[..]);
        bound.extend_from_slice(id.hash());
        bound.extend_from_slice(name.as_bytes());
        bound
    }

    fn seal(&self, id: &SessionId, name: &str, value: &[u8], random: &dyn Random) -> Result<Bytes> {
        let mut out = Self::bound(id, name);
        let start = out.len();
        self.keyring.seal(&mut out, value, random)?;
        Ok([&MARK, &out[start..]].concat().into())
    }

    fn open(&self, id: &SessionId, name: &str, stored: &Bytes) -> Result<Bytes> {
        let Some(sealed) = stored.strip_prefix(&MARK) else {
            return if self.reads_plain {
                Ok(stored.clone())
            } else {
                Err(Error::new(ErrorKind::Codec, format!("the session field {name:?} is not encrypted")))
            };
        };
        let mut bytes = Self::bound(id, name);
        let header = bytes.len();
        bytes.extend_from_slice(sealed);
        self.keyring.open(&bytes, header).map(Bytes::from)
    }
}

impl From<Keyring> for SessionEncryption {
    fn from(keyring: Keyring) -> Self {
        Self::new(keyring)
    }
}

/// A store whose fields are encrypted before they reach it.
#[derive(Debug)]
struct Sealed {
    inner: Arc<dyn SessionStore>,
    encryption: SessionEncryption,
    random: Arc<dyn Random>,
}

impl Sealed {
    fn seal(&self, id: &SessionId, data: &mut BTreeMap<String, Bytes>) -> Result<()> {
        for (name, value) in data {
            *value = self.encryption.seal(id, name, value, &*self.random)?;
        }
        Ok(())
    }

    fn open(&self, operation: &'static str, mut record: SessionRecord) -> Result<SessionRecord> {
        for (name, value) in &mut record.data {
            let opened = self.encryption.open(&record.id, name, value);
            *value = opened.map_err(|error| error.with_operation(operation))?;
        }
        Ok(record)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SessionStore for Sealed {
    fn capabilities(&self) -> SessionCapabilities {
        self.inner.capabilities()
    }

    fn outbox(&self) -> Option<&dyn SessionOutbox> {
        // There are no fields in it.
        self.inner.outbox()
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        self.inner.feed()
    }

    fn bounded(&self, bounds: SessionBounds) -> Arc<dyn SessionStore> {
        let (encryption, random) = (self.encryption.clone(), Arc::clone(&self.random));
        Arc::new(Self { inner: self.inner.bounded(bounds), encryption, random })
    }

    async fn create(&self, service: &Name, mut session: NewSession) -> Result<CreateOutcome> {
        let data = session.data.clone();
        self.seal(&session.id, &mut session.data)?;
        let mut outcome = self.inner.create(service, session).await?;
        if let CreateOutcome::Created { record, .. } = &mut outcome {
            record.data = data;
        }
        Ok(outcome)
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        let found = self.inner.load(service, id).await?;
        found.map(|record| self.open("session.load", record)).transpose()
    }

    async fn use_session(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        let found = self.inner.use_session(service, id).await?;
        found.map(|record| self.open("session.use", record)).transpose()
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        let mut patch = patch.clone();
        self.seal(id, &mut patch.set)?;
        self.inner.patch(service, id, &patch).await
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        self.inner.touch(service, id).await
    }

    /// The fields are bound to the id: all of them are read, and stored anew for the new one, if nobody changes them meanwhile.
    async fn rotate(
        &self,
        service: &Name,
        user: &str,
        id: &SessionId,
        rotation: &Rotation,
    ) -> Result<RotateOutcome> {
        for _ in 0..ATTEMPTS {
            let Some(found) = self.inner.load(service, id).await? else {
                return Ok(RotateOutcome::Gone);
            };
            if found.id != *id {
                return Ok(RotateOutcome::Superseded { by: found.id });
            }
            let found = self.open("session.rotate", found)?;
            let mut sealed = rotation.clone();
            let expected = *sealed.patch.expected_version.get_or_insert(found.version);
            let mut data = found.data;
            data.retain(|name, _| !rotation.patch.remove.contains(name));
            data.extend(std::mem::take(&mut sealed.patch.set));
            self.seal(&rotation.to, &mut data)?;
            sealed.patch.set = data;
            match self.inner.rotate(service, user, id, &sealed).await? {
                RotateOutcome::Conflict { .. } if rotation.patch.expected_version != Some(expected) => {}
                RotateOutcome::Rotated { record } => {
                    return Ok(RotateOutcome::Rotated { record: self.open("session.rotate", record)? });
                }
                other => return Ok(other),
            }
        }
        Err(Error::new(ErrorKind::Unavailable, "the session is changed all the time")
            .with_operation("session.rotate"))
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        let ended = self.inner.destroy(service, id).await?;
        // It has ended, whether anybody can read what it held or not.
        Ok(ended.map(|mut record| {
            match self.open("session.destroy", record.clone()) {
                Ok(opened) => record = opened,
                Err(_) => record.data.clear(),
            }
            record
        }))
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionSummary>> {
        self.inner.list(service, user).await
    }

    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        self.inner.destroy_all(service, user, except).await
    }
}
