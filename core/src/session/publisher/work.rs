//! The task that reaps and publishes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt, stream};
use tokio_util::sync::CancellationToken;

use super::Settings;
use super::news::News;
use super::telemetry::{Telemetry, entries};
use crate::environment::Environment;
use crate::error::{Error, Result};
use crate::event::EventBus;
use crate::key::Name;
use crate::random::jittered;
use crate::session::SessionStore;
use crate::session::outbox::{
    OutboxEntry, OutboxId, OutboxItem, OutboxPage, OutboxStatus, PublisherId, ReapCursor, SessionOutbox,
};
use crate::time::Ttl;

/// For how long an outbox is the publisher's: longer than publishing a page takes.
const CLAIM: Duration = Duration::from_secs(30);
/// How many entries are read at once, and then published one after the other.
const PAGE: usize = 100;
/// How many outboxes are published from at once.
const AT_ONCE: usize = 16;
/// How many sessions one call reaps.
const REAPED_AT_ONCE: usize = 1_000;
/// How many calls of one turn are made before the right to reap is renewed.
const CALLS_BETWEEN_RENEWALS: u32 = 16;

#[derive(Debug)]
pub(super) struct Work {
    pub(super) store: Arc<dyn SessionStore>,
    pub(super) bus: Arc<dyn EventBus>,
    pub(super) service: Name,
    pub(super) publisher: PublisherId,
    pub(super) environment: Environment,
    pub(super) telemetry: Telemetry,
    pub(super) news: Arc<News>,
    pub(super) settings: Settings,
}

/// What came of publishing from an outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Left {
    Nothing,
    /// Another publisher is at it, or has died at it.
    Claimed,
}

impl Work {
    /// Until the façade is gone or the stores close; then what is known to wait is published for the last time.
    pub(super) async fn run(self, stop: CancellationToken) {
        let closing = self.environment.tasks.closing();
        let stopping = async {
            tokio::select! {
                () = closing => {}
                () = stop.cancelled() => {}
            }
        };
        let mut stopping = std::pin::pin!(stopping);
        let mut waiting = self.telemetry.waiting.share();
        loop {
            let pause = jittered(&*self.environment.random, self.settings.every);
            let mut pause = std::pin::pin!(self.environment.sleep(pause));
            loop {
                let publish = tokio::select! {
                    biased;
                    () = &mut stopping => {
                        drop(self.publish(self.news.take()).await);
                        return;
                    }
                    // Before the news, of which there may always be some.
                    () = &mut pause => false,
                    () = self.news.added() => true,
                };
                // What fails is tried again after the pause, and not before.
                let published = self.publish(self.news.take()).await;
                if let Err(error) = &published {
                    tracing::warn!(%error, "the events of sessions wait, since they can't be published");
                }
                if publish {
                    continue;
                }
                if self.settings.reaping {
                    match self.turn(published.is_ok(), &stop).await {
                        Ok(entries) => waiting.set(entries),
                        Err(error) => tracing::warn!(%error, "sessions that timed out can't be looked for"),
                    }
                }
                break;
            }
        }
    }

    fn outbox(&self) -> Result<&dyn SessionOutbox> {
        self.store.outbox().ok_or_else(|| Error::unsupported("the session store has no outbox"))
    }

    fn is_over(&self, stop: &CancellationToken) -> bool {
        stop.is_cancelled() || self.environment.tasks.is_closing()
    }

    /// Keeps the right to reap until some turns from now.
    async fn lead(&self) -> Result<bool> {
        self.outbox()?.lead(&self.service, &self.publisher, Ttl::new(self.settings.every * 3)?).await
    }

    /// Comes by every outbox, if that is this façade's to do: ends what is due, and publishes what waits while that works.
    /// Answers how many entries were found to wait.
    async fn turn(&self, mut publishing: bool, stop: &CancellationToken) -> Result<usize> {
        let (outbox, mut from, mut calls, mut found) = (self.outbox()?, Some(ReapCursor::default()), 0, 0);
        while let Some(cursor) = from {
            if self.is_over(stop) || (calls % CALLS_BETWEEN_RENEWALS == 0 && !self.lead().await?) {
                break;
            }
            calls += 1;
            let reaped =
                outbox.reap(&self.service, cursor, REAPED_AT_ONCE.min(outbox.bounds().max_page)).await?;
            self.telemetry.reaped(reaped.ended);
            found += entries(&reaped.waiting);
            if publishing {
                // A turn may be long, and what happens here meanwhile does not wait for its end.
                let mut waiting = self.news.take();
                waiting.extend(reaped.waiting.iter().map(|OutboxStatus { outbox, .. }| *outbox));
                if let Err(error) = self.publish(waiting).await {
                    tracing::warn!(%error, "the events of sessions wait, since they can't be published");
                    publishing = false;
                }
            }
            from = reaped.next;
        }
        Ok(found)
    }

    /// Publishes what waits in these, some of them at once; puts back those in which something is left. After a failure no
    /// further one is begun.
    async fn publish(&self, outboxes: BTreeSet<OutboxId>) -> Result<()> {
        let mut outboxes = outboxes.into_iter();
        let mut failed = None;
        // Collected first: a closure within the stream would keep callers from spawning this future.
        while let Some(group) = group(&mut outboxes) {
            let drains: Vec<_> = group.iter().map(|outbox| self.drain(*outbox)).collect();
            let drained: Vec<_> = stream::iter(drains).buffered(AT_ONCE).collect().await;
            for (outbox, drained) in group.into_iter().zip(drained) {
                match drained {
                    Ok(Left::Nothing) => {}
                    Ok(Left::Claimed) => self.news.put_back(outbox),
                    Err(error) => {
                        self.news.put_back(outbox);
                        failed = Some(error);
                    }
                }
            }
            if let Some(error) = failed {
                for outbox in outboxes {
                    self.news.put_back(outbox);
                }
                return Err(error);
            }
        }
        Ok(())
    }

    /// Publishes from an outbox in the order of its entries, until nothing is left.
    async fn drain(&self, outbox: OutboxId) -> Result<Left> {
        let (store, service) = (self.outbox()?, &self.service);
        let page = PAGE.min(store.bounds().max_page);
        loop {
            let read = store.read(service, outbox, &self.publisher, Ttl::new(CLAIM)?, page).await?;
            let OutboxPage::Entries(entries) = read else {
                return Ok(Left::Claimed);
            };
            if entries.is_empty() {
                return Ok(Left::Nothing);
            }
            let (mut done, mut failed) = (Vec::with_capacity(entries.len()), None);
            for entry in entries {
                if let Err(error) = self.publish_entry(&entry).await {
                    failed = Some(error);
                    break;
                }
                done.push(entry.position);
            }
            // Only now: who dies before this leaves them to another.
            let left = store.acknowledge(service, outbox, &self.publisher, &done).await?;
            match failed {
                Some(error) => return Err(error),
                None if left == 0 => return Ok(Left::Nothing),
                None => {}
            }
        }
    }

    async fn publish_entry(&self, entry: &OutboxEntry) -> Result<()> {
        let (news, id, user, at) = match &entry.item {
            OutboxItem::News { news, id, user, at } => (news, id, user, *at),
            OutboxItem::Lost(events) => {
                tracing::warn!(events, "an outbox of sessions was full: events were lost");
                self.telemetry.lost(*events);
                return Ok(());
            }
            OutboxItem::Unreadable => {
                tracing::warn!("an entry in an outbox of sessions can't be read; it is removed");
                self.telemetry.lost(1);
                return Ok(());
            }
        };
        let Some(event) = self.settings.events.event_of(&self.service, news, id, user, at)? else {
            return Ok(());
        };
        let published = self.bus.publish(&event).await;
        match &published {
            Ok(()) => self.telemetry.published(self.environment.clock.wall().saturating_since(at)),
            Err(_) => self.telemetry.failed(),
        }
        published
    }
}

/// The next ones, that are published from at once.
fn group(outboxes: &mut impl Iterator<Item = OutboxId>) -> Option<Vec<OutboxId>> {
    let group: Vec<_> = outboxes.take(AT_ONCE).collect();
    if group.is_empty() { None } else { Some(group) }
}
