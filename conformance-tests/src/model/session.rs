//! Sessions.

use std::collections::BTreeMap;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::sample::select;
use stanchion::random::Random;
use stanchion::session::{
    CreateOutcome, HashingKey, NewSession, Patch, PatchOutcome, Predecessor, RotateOutcome, Rotation,
    SessionId, SessionLimit, SessionRecord, SessionStore, SessionSummary, SessionToken, TouchOutcome,
};
use stanchion::{Error, Result, key};

use super::Answer;
use super::answer::{Listed, Session};
use super::step::Hours;

/// A session by the user whose token it is, and a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name(&'static str, u8);

/// An operation of a [`SessionStore`].
#[derive(Debug, Clone)]
pub enum Operation {
    Create {
        service: &'static str,
        name: Name,
        user: &'static str,
        limit: Limit,
        idle: Hours,
        every: Hours,
        replaces: Option<(u8, u64)>,
        data: Data,
    },
    Rotate {
        service: &'static str,
        name: Name,
        user: &'static str,
        to: u8,
        set: Data,
        grace: bool,
    },
    Load {
        service: &'static str,
        name: Name,
    },
    Use {
        service: &'static str,
        name: Name,
    },
    Patch {
        service: &'static str,
        name: Name,
        set: Data,
        remove: Vec<&'static str>,
        expecting: Option<u64>,
    },
    Touch {
        service: &'static str,
        name: Name,
    },
    Destroy {
        service: &'static str,
        name: Name,
    },
    List {
        service: &'static str,
        user: &'static str,
    },
    DestroyAll {
        service: &'static str,
        user: &'static str,
        except: Option<Name>,
    },
}

impl Operation {
    /// The new name of the session, and the one before, if it is rotated.
    pub(super) fn rotation(&self) -> Option<(Name, Name)> {
        match self {
            Self::Rotate { name, to, .. } => Some((Name(name.0, *to), *name)),
            _ => None,
        }
    }

    /// Calls a session by another name of the same user.
    pub(super) fn rename(&mut self, from: Name, to: Name) {
        let number = |user: &str, number: &mut u8| {
            if user == from.0 && *number == from.1 {
                *number = to.1;
            }
        };
        match self {
            Self::Create { name, replaces, .. } => {
                number(name.0, &mut name.1);
                if let Some((replaced, _)) = replaces {
                    number(name.0, replaced);
                }
            }
            Self::Rotate { name, to, .. } => {
                number(name.0, &mut name.1);
                number(name.0, to);
            }
            Self::Load { name, .. }
            | Self::Use { name, .. }
            | Self::Patch { name, .. }
            | Self::Touch { name, .. }
            | Self::Destroy { name, .. }
            | Self::DestroyAll { except: Some(name), .. } => number(name.0, &mut name.1),
            Self::List { .. } | Self::DestroyAll { except: None, .. } => {}
        }
    }
}

type Data = Vec<(&'static str, &'static [u8])>;

/// How many sessions a user may have, and what makes room.
#[derive(Debug, Clone, Copy)]
pub enum Limit {
    Reject(u32),
    EvictOldest(u32),
    EvictLeastRecent(u32),
}

const SERVICES: &[&str] = &["auth", "auth", "auth", "shop"];
const USERS: &[&str] = &["u1", "u2", "é:{}"];
const FIELDS: &[&str] = &["a", "b", "user", ""];
const VALUES: &[&[u8]] = &[b"", b"1", b"\xFF"];
const NUMBERS: u8 = 4;

fn data() -> impl Strategy<Value = Data> + Clone {
    prop::collection::vec((select(FIELDS), select(VALUES)), 0..3)
}

pub(super) fn operation() -> impl Strategy<Value = Operation> + Clone {
    let service = || select(SERVICES);
    let user = || select(USERS);
    let name = || (user(), 0..NUMBERS).prop_map(|(user, number)| Name(user, number));
    let limit =
        (0..3_u8, prop_oneof![1 => Just(0_u32), 9 => 1..4_u32]).prop_map(|(kind, count)| match kind {
            0 => Limit::Reject(count),
            1 => Limit::EvictOldest(count),
            _ => Limit::EvictLeastRecent(count),
        });
    // Now and then with a token that was made for somebody else.
    let created = (name(), prop_oneof![9 => Just(None), 1 => user().prop_map(Some)]);
    let replaces = prop_oneof![2 => Just(None), 1 => (0..NUMBERS, 1..4_u64).prop_map(Some)];
    prop_oneof![
        5 => (service(), created.clone(), limit, (Hours::any(), Hours::none_or_any()), replaces, data()).prop_map(
            |(service, (name, other), limit, (idle, every), replaces, data)| {
                let user = other.unwrap_or(name.0);
                Operation::Create { service, name, user, limit, idle, every, replaces, data }
            }
        ),
        2 => (service(), created.clone(), 0..NUMBERS, data(), any::<bool>()).prop_map(
            |(service, (name, other), to, set, grace)| {
                Operation::Rotate { service, name, user: other.unwrap_or(name.0), to, set, grace }
            }
        ),
        2 => (service(), name()).prop_map(|(service, name)| Operation::Load { service, name }),
        4 => (service(), name(), data(), prop::collection::vec(select(FIELDS), 0..2), prop::option::of(1..5_u64))
            .prop_map(|(service, name, set, remove, expecting)| {
                Operation::Patch { service, name, set, remove, expecting }
            }),
        2 => (service(), name()).prop_map(|(service, name)| Operation::Touch { service, name }),
        2 => (service(), name()).prop_map(|(service, name)| Operation::Use { service, name }),
        1 => (service(), name()).prop_map(|(service, name)| Operation::Destroy { service, name }),
        2 => (service(), user()).prop_map(|(service, user)| Operation::List { service, user }),
        1 => (service(), user(), prop::option::of(name()))
            .prop_map(|(service, user, except)| Operation::DestroyAll { service, user, except }),
    ]
}

/// The same bytes each time: a name has one id.
#[derive(Debug)]
struct Numbered(u8);

impl Random for Numbered {
    fn fill(&self, buffer: &mut [u8]) -> Result<()> {
        buffer.fill(self.0);
        Ok(())
    }
}

impl Name {
    fn id(self) -> Result<SessionId> {
        Ok(HashingKey::unkeyed().session_id(&SessionToken::generate(self.0, &Numbered(self.1))?))
    }

    /// The name of an id, if it is one of ours.
    fn of(id: &SessionId) -> Option<Self> {
        let mut names = USERS.iter().flat_map(|user| (0..NUMBERS).map(|number| Self(user, number)));
        names.find(|name| name.id().is_ok_and(|known| known == *id))
    }
}

impl From<SessionRecord> for Session {
    fn from(record: SessionRecord) -> Self {
        Self {
            name: Name::of(&record.id),
            user: record.user,
            data: record.data,
            version: record.version,
            expires_in: record.expires_in.into(),
        }
    }
}

impl From<SessionSummary> for Listed {
    fn from(summary: SessionSummary) -> Self {
        Self { name: Name::of(&summary.id), user: summary.user, expires_in: summary.expires_in.into() }
    }
}

fn named(ids: &[SessionId]) -> Vec<Option<Name>> {
    ids.iter().map(Name::of).collect()
}

fn bytes(data: &Data) -> BTreeMap<String, Bytes> {
    data.iter().map(|(field, value)| ((*field).to_owned(), Bytes::from_static(value))).collect()
}

/// An outcome of a later contract than the model's.
fn unknown(outcome: &impl std::fmt::Debug) -> Error {
    Error::unsupported(format!("the model does not know the outcome {outcome:?}"))
}

pub(super) async fn run(operation: &Operation, sessions: &dyn SessionStore) -> Result<Answer> {
    let service = |name| key::Name::new(name);
    Ok(match operation {
        Operation::Create { service: s, name, user, limit, idle, every, replaces, data } => {
            let limit = match limit {
                Limit::Reject(count) => SessionLimit::Reject(*count),
                Limit::EvictOldest(count) => SessionLimit::EvictOldest(*count),
                Limit::EvictLeastRecent(count) => SessionLimit::EvictLeastRecent(*count),
            };
            // The absolute time is the same for all: an idle time of 24 hours is cut by it.
            let absolute = stanchion::time::Ttl::new(stanchion::time::hours(12))?;
            let new = NewSession::new(name.id()?, *user, idle.ttl(), absolute, limit).data(bytes(data));
            let mut new = new.touch_every(every.duration());
            if let Some((number, version)) = replaces {
                new = new.replacing(Predecessor::new(Name(name.0, *number).id()?, *version));
            }
            match sessions.create(&service(s)?, new).await? {
                CreateOutcome::Created { record, evicted, replaced } => Answer::Created {
                    session: record.into(),
                    evicted: named(&evicted),
                    replaced: replaced.as_ref().and_then(Name::of),
                },
                CreateOutcome::Conflict { version } => Answer::Version { saved: false, version },
                CreateOutcome::LimitReached => Answer::LimitReached,
                CreateOutcome::IdTaken => Answer::IdTaken,
                other => return Err(unknown(&other)),
            }
        }
        Operation::Load { service: s, name } => {
            let found = sessions.load(&service(s)?, &name.id()?).await?;
            Answer::Sessions(found.into_iter().map(Session::from).collect())
        }
        Operation::Use { service: s, name } => {
            let found = sessions.use_session(&service(s)?, &name.id()?).await?;
            Answer::Sessions(found.into_iter().map(Session::from).collect())
        }
        Operation::Patch { service: s, name, set, remove, expecting } => {
            let mut patch = Patch::new();
            patch.set = bytes(set);
            patch.remove = remove.iter().map(ToString::to_string).collect();
            patch.expected_version = *expecting;
            match sessions.patch(&service(s)?, &name.id()?, &patch).await? {
                PatchOutcome::Saved { version } => Answer::Version { saved: true, version },
                PatchOutcome::Conflict { version } => Answer::Version { saved: false, version },
                PatchOutcome::Gone => Answer::Gone,
                PatchOutcome::Moved { to } => Answer::Moved(Name::of(&to)),
                other => return Err(unknown(&other)),
            }
        }
        Operation::Touch { service: s, name } => match sessions.touch(&service(s)?, &name.id()?).await? {
            TouchOutcome::Touched { expires_in } => Answer::Life(Some(expires_in.into())),
            TouchOutcome::Gone => Answer::Gone,
            other => return Err(unknown(&other)),
        },
        Operation::Rotate { service: s, name, user, to, set, grace } => {
            let mut patch = Patch::new();
            patch.set = bytes(set);
            let mut rotation = Rotation::to(Name(name.0, *to).id()?).patch(patch);
            if *grace {
                rotation = rotation.grace(Rotation::MAX_GRACE);
            }
            match sessions.rotate(&service(s)?, user, &name.id()?, &rotation).await? {
                RotateOutcome::Rotated { record } => Answer::Sessions(vec![record.into()]),
                RotateOutcome::Superseded { by } => Answer::Moved(Name::of(&by)),
                RotateOutcome::Conflict { version } => Answer::Version { saved: false, version },
                RotateOutcome::IdTaken => Answer::IdTaken,
                RotateOutcome::Gone => Answer::Gone,
                other => return Err(unknown(&other)),
            }
        }
        Operation::Destroy { service: s, name } => {
            let ended = sessions.destroy(&service(s)?, &name.id()?).await?;
            Answer::Sessions(ended.into_iter().map(Session::from).collect())
        }
        Operation::List { service: s, user } => {
            let live = sessions.list(&service(s)?, user).await?;
            Answer::Listed(live.into_iter().map(Listed::from).collect())
        }
        Operation::DestroyAll { service: s, user, except } => {
            let except = except.map(Name::id).transpose()?;
            let mut ended = named(&sessions.destroy_all(&service(s)?, user, except.as_ref()).await?);
            // In no stated order.
            ended.sort_unstable();
            Answer::Ended(ended)
        }
    })
}
