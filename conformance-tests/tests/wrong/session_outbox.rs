//! Wrong outboxes of sessions.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use stanchion::Result;
use stanchion::changes::ChangeFeed;
use stanchion::key::Name;
use stanchion::random::SeededRandom;
use stanchion::session::outbox::{
    OutboxBounds, OutboxEntry, OutboxId, OutboxItem, OutboxPage, OutboxPosition, PublisherId, ReapCursor,
    Reaped, SessionNews,
};
use stanchion::session::{
    CreateOutcome, NewSession, Patch, PatchOutcome, RotateOutcome, Rotation, SessionBounds,
    SessionCapabilities, SessionEnd, SessionId, SessionOutbox, SessionRecord, SessionStore, SessionSummary,
    TouchOutcome,
};
use stanchion::time::{Monotonic, Ttl};

use crate::backend::{self, Around, locked};
use crate::proof::{Proof, must_fail};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// `DEL` alone: whoever logs out is not in the news.
    DestroyedIsSilent,
    /// `RENAME`, and nobody is notified.
    RotatedIsSilent,
    /// The reason is that of the method that is called most.
    EvictedIsDestroyed,
    /// Everything is published, whatever was asked for.
    AllArePublished,
    /// `XREAD`, and then `XTRIM`, before anything is published.
    ReadRemoves,
    /// The key has expired, and with it whose session it was.
    TimedOutAreSilent,
    /// Two that reap at once, without one step.
    TimedOutTwice,
    /// The deadline is that in the sorted set.
    UsedAreReaped,
    /// The same, with the index alone.
    UsedAreUnlisted,
    /// Nobody claims anything.
    NoClaims,
    /// Everybody reaps.
    AllLead,
    /// A limit of zero is none.
    ZeroIsNoLimit,
    /// A page takes all that an outbox takes, so that the count of what is lost is read while it grows.
    PageIsTheOutbox,
    /// Nobody says where something waits.
    WaitingIsNotSaid,
}

const fn proof(rule: &'static str, bug: Bug, case: &'static str, message: &'static str) -> Proof {
    must_fail(rule, backend::Bug::SessionOutbox(bug), case, message)
}

const HAPPENS: &str = "the news of each published session, in order";

pub(crate) const PROOFS: &[Proof] = &[
    proof("SESSION-50", Bug::DestroyedIsSilent, "outbox::what_happens", HAPPENS),
    proof("SESSION-50", Bug::EvictedIsDestroyed, "outbox::what_happens", HAPPENS),
    proof(
        "SESSION-50",
        Bug::RotatedIsSilent,
        "outbox::rotated_and_replaced",
        "the news of a session that was rotated",
    ),
    proof("SESSION-50", Bug::AllArePublished, "outbox::what_happens", HAPPENS),
    proof("SESSION-51", Bug::ReadRemoves, "outbox::stays_until_acknowledged", "what was read, read again")
        .also(&["SESSION-54"]),
    proof(
        "SESSION-52",
        Bug::TimedOutAreSilent,
        "outbox::timed_out_unseen",
        "the sessions that timed out, with their users",
    )
    .also(&["SESSION-53", "SESSION-57"]),
    proof("SESSION-52", Bug::TimedOutTwice, "outbox::timed_out_unseen", "the end of a session, once")
        .also(&["SESSION-53"]),
    proof(
        "SESSION-53",
        Bug::UsedAreReaped,
        "outbox::used_is_not_reaped",
        "the news of a session that was used",
    ),
    proof(
        "SESSION-53",
        Bug::UsedAreUnlisted,
        "outbox::used_is_not_reaped",
        "a session that was used is listed",
    ),
    proof(
        "SESSION-54",
        Bug::NoClaims,
        "outbox::claim",
        "an outbox that another publisher has claimed: Claimed",
    ),
    proof("SESSION-55", Bug::AllLead, "outbox::lead", "another: false"),
    proof("SESSION-56", Bug::ZeroIsNoLimit, "outbox::bad_limits", "reaping 0: refused as invalid input"),
    proof(
        "SESSION-56",
        Bug::PageIsTheOutbox,
        "outbox::bad_limits",
        "an outbox that takes more entries than a page",
    ),
    proof("SESSION-57", Bug::WaitingIsNotSaid, "outbox::reaches_subscribers", "an event, within 10s")
        .also(&["SESSION-50", "SESSION-52", "SESSION-53"]),
];

#[derive(Debug)]
pub(crate) struct Wrong {
    bug: Bug,
    right: Arc<dyn SessionStore>,
    around: Around,
    /// The first deadlines of what this handle created.
    deadlines: Arc<Mutex<HashMap<SessionId, Monotonic>>>,
    /// One for all.
    publisher: PublisherId,
}

impl Wrong {
    pub(crate) fn new(bug: Bug, right: Arc<dyn SessionStore>, around: &Around) -> Result<Self> {
        let publisher = PublisherId::generate(&SeededRandom::new(1))?;
        Ok(Self { bug, right, around: around.clone(), deadlines: Arc::default(), publisher })
    }

    fn part(&self) -> Result<&dyn SessionOutbox> {
        self.right.outbox().ok_or_else(|| stanchion::Error::unsupported("no outbox"))
    }

    /// Whether the deadline that a session had at first is over.
    fn is_due(&self, id: &SessionId) -> bool {
        let now = self.around.right.environment().clock.now();
        locked(&self.deadlines).get(id).is_some_and(|deadline| *deadline <= now)
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SessionStore for Wrong {
    fn capabilities(&self) -> SessionCapabilities {
        self.right.capabilities()
    }

    fn outbox(&self) -> Option<&dyn SessionOutbox> {
        Some(self)
    }

    fn feed(&self) -> Option<&dyn ChangeFeed> {
        None
    }

    fn bounded(&self, bounds: SessionBounds) -> Arc<dyn SessionStore> {
        Arc::new(Self {
            bug: self.bug,
            right: self.right.bounded(bounds),
            around: self.around.clone(),
            deadlines: Arc::clone(&self.deadlines),
            publisher: self.publisher.clone(),
        })
    }

    async fn create(&self, service: &Name, mut session: NewSession) -> Result<CreateOutcome> {
        if self.bug == Bug::AllArePublished {
            session.publish = true;
        }
        let life = session.idle.min(session.absolute).as_duration();
        let deadline = self.around.right.environment().clock.now().saturating_add(life);
        locked(&self.deadlines).insert(session.id.clone(), deadline);
        self.right.create(service, session).await
    }

    async fn load(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.right.load(service, id).await
    }

    async fn use_session(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.right.use_session(service, id).await
    }

    async fn patch(&self, service: &Name, id: &SessionId, patch: &Patch) -> Result<PatchOutcome> {
        self.right.patch(service, id, patch).await
    }

    async fn touch(&self, service: &Name, id: &SessionId) -> Result<TouchOutcome> {
        self.right.touch(service, id).await
    }

    async fn rotate(
        &self,
        service: &Name,
        user: &str,
        id: &SessionId,
        rotation: &Rotation,
    ) -> Result<RotateOutcome> {
        self.right.rotate(service, user, id, rotation).await
    }

    async fn destroy(&self, service: &Name, id: &SessionId) -> Result<Option<SessionRecord>> {
        self.right.destroy(service, id).await
    }

    async fn list(&self, service: &Name, user: &str) -> Result<Vec<SessionSummary>> {
        let mut listed = self.right.list(service, user).await?;
        if self.bug == Bug::UsedAreUnlisted {
            listed.retain(|session| !self.is_due(&session.id));
        }
        Ok(listed)
    }

    async fn destroy_all(
        &self,
        service: &Name,
        user: &str,
        except: Option<&SessionId>,
    ) -> Result<Vec<SessionId>> {
        self.right.destroy_all(service, user, except).await
    }
}

#[deny(clippy::missing_trait_methods)]
#[async_trait]
impl SessionOutbox for Wrong {
    fn bounds(&self) -> OutboxBounds {
        let mut bounds = self.right.outbox().map_or_else(OutboxBounds::new, SessionOutbox::bounds);
        if self.bug == Bug::PageIsTheOutbox {
            bounds.max_entries = bounds.max_page as u64;
        }
        bounds
    }

    fn outbox_of(&self, id: &SessionId) -> OutboxId {
        self.right.outbox().map_or(OutboxId::new(0), |outbox| outbox.outbox_of(id))
    }

    async fn lead(&self, service: &Name, publisher: &PublisherId, lease: Ttl) -> Result<bool> {
        let leads = self.part()?.lead(service, publisher, lease).await?;
        Ok(leads || self.bug == Bug::AllLead)
    }

    async fn reap(&self, service: &Name, from: ReapCursor, limit: usize) -> Result<Reaped> {
        if self.bug == Bug::UsedAreReaped {
            let ids: Vec<_> = locked(&self.deadlines).keys().cloned().collect();
            for id in ids {
                if self.is_due(&id) {
                    self.right.destroy(service, &id).await?;
                }
            }
        }
        let limit = if self.bug == Bug::ZeroIsNoLimit && limit == 0 { 1 } else { limit };
        let mut reaped = self.part()?.reap(service, from, limit).await?;
        if self.bug == Bug::WaitingIsNotSaid {
            reaped.waiting.clear();
        }
        Ok(reaped)
    }

    async fn read(
        &self,
        service: &Name,
        outbox: OutboxId,
        publisher: &PublisherId,
        claim: Ttl,
        limit: usize,
    ) -> Result<OutboxPage> {
        let publisher = if self.bug == Bug::NoClaims { &self.publisher } else { publisher };
        let page = self.part()?.read(service, outbox, publisher, claim, limit).await?;
        let OutboxPage::Entries(mut entries) = page else {
            return Ok(page);
        };
        let positions: Vec<_> = entries.iter().map(|entry| entry.position.clone()).collect();
        let is = |entry: &OutboxEntry, end| matches!(&entry.item, OutboxItem::News { news, .. } if *news == SessionNews::Ended(end));
        match self.bug {
            Bug::ReadRemoves => {
                self.part()?.acknowledge(service, outbox, publisher, &positions).await?;
            }
            Bug::DestroyedIsSilent | Bug::TimedOutAreSilent => {
                let silent = match self.bug {
                    Bug::DestroyedIsSilent => SessionEnd::Destroyed,
                    _ => SessionEnd::TimedOut,
                };
                let gone = entries.iter().filter(|entry| is(entry, silent));
                let gone: Vec<_> = gone.map(|entry| entry.position.clone()).collect();
                self.part()?.acknowledge(service, outbox, publisher, &gone).await?;
                entries.retain(|entry| !is(entry, silent));
            }
            Bug::EvictedIsDestroyed => {
                for entry in &mut entries {
                    if is(entry, SessionEnd::Evicted)
                        && let OutboxItem::News { news, .. } = &mut entry.item
                    {
                        *news = SessionNews::Ended(SessionEnd::Destroyed);
                    }
                }
            }
            Bug::RotatedIsSilent => entries.retain(|entry| {
                !matches!(&entry.item, OutboxItem::News { news: SessionNews::Rotated { .. }, .. })
            }),
            Bug::TimedOutTwice => {
                let twice: Vec<_> =
                    entries.iter().filter(|entry| is(entry, SessionEnd::TimedOut)).cloned().collect();
                entries.extend(twice);
            }
            _ => {}
        }
        Ok(OutboxPage::Entries(entries))
    }

    async fn acknowledge(
        &self,
        service: &Name,
        outbox: OutboxId,
        publisher: &PublisherId,
        positions: &[OutboxPosition],
    ) -> Result<u64> {
        let publisher = if self.bug == Bug::NoClaims { &self.publisher } else { publisher };
        self.part()?.acknowledge(service, outbox, publisher, positions).await
    }
}
