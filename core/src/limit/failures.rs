//! Failed attempts and lock-outs of one key: the state machine that every backend runs, or does the arithmetic of.

use std::collections::HashSet;
use std::time::Duration;

use super::attempt::{AttemptOutcome, AttemptRequest, AttemptTicket, LockedBy, Lockout, Settlement};
use crate::error::{Error, ErrorKind, Result};
use crate::time::Timestamp;

/// The failures of a key, and of each source.
///
/// # Stored form
/// [`fields`](Self::fields) and [`from_fields`](Self::from_fields): those of the hash that Redis has. `*` is the key's own
/// record and `@{source}` that of a source, each `{failures}:{since}:{locked until}:{lock-outs}:{forgotten at}:{known until}`,
/// times in microseconds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failures {
    overall: Record,
    sources: Vec<(String, Record)>,
    /// When nothing of it says anything any more.
    until: Timestamp,
}

/// Failures, and the lock-out that they have led to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Record {
    failures: u32,
    since: Timestamp,
    locked_until: Timestamp,
    lockouts: u32,
    forgotten_at: Timestamp,
    known_until: Timestamp,
}

const NEVER: Timestamp = Timestamp::from_micros(0);

impl Record {
    /// As it is now: what is over is over, and what the clock left too far ahead is brought back. Answers whether the latter
    /// was needed.
    fn settle(&mut self, lockout: &Lockout, now: Timestamp) -> bool {
        let [window, _, longest, _] = lockout.micros().map(Duration::from_micros);
        let mut moved = false;
        if self.locked_until > now.saturating_add(longest) {
            self.locked_until = now.saturating_add(longest);
            moved = true;
        }
        if self.since > now {
            self.since = now;
            moved = true;
        }
        if self.forgotten_at <= now {
            self.lockouts = 0;
        }
        let was_locked = self.locked_until != NEVER;
        if self.is_locked(now) {
            return moved;
        }
        if was_locked || self.since.saturating_add(window) <= now {
            self.failures = 0;
        }
        self.locked_until = NEVER;
        moved
    }

    fn is_locked(&self, now: Timestamp) -> bool {
        self.locked_until > now
    }

    /// Counts a failure; answers the lock-out that begins with it.
    fn count(&mut self, lockout: &Lockout, now: Timestamp) -> Option<Duration> {
        if self.failures == 0 {
            self.since = now;
        }
        self.failures = self.failures.saturating_add(1);
        if self.failures < lockout.failures {
            return None;
        }
        let [_, first, longest, memory] = lockout.micros();
        let locked = Duration::from_micros(first.saturating_mul(1 << self.lockouts).min(longest));
        self.locked_until = now.saturating_add(locked);
        self.lockouts = (self.lockouts + 1).min(32);
        self.forgotten_at = self.locked_until.saturating_add(Duration::from_micros(memory));
        Some(locked)
    }

    /// Takes back a failure that was counted in the window that began at `since`. A lock-out needed it.
    fn take_back(&mut self, since: Timestamp) {
        if since == NEVER || since != self.since || self.failures == 0 {
            return;
        }
        self.failures -= 1;
        if self.locked_until != NEVER {
            self.locked_until = NEVER;
            self.lockouts = self.lockouts.saturating_sub(1);
        }
    }

    fn unlock(&mut self) {
        *self = Self { known_until: self.known_until, ..Self::default() };
    }

    /// Until when it says something: given the window that its failures are counted in.
    fn lasts(&self, lockout: &Lockout) -> Timestamp {
        let window = self.since.saturating_add(Duration::from_micros(lockout.micros()[0]));
        [window, self.locked_until, self.forgotten_at, self.known_until].into_iter().max().unwrap_or(NEVER)
    }

    /// Which of several sources is forgotten first: the one of which this is the earliest.
    fn last(&self) -> Timestamp {
        self.since.max(self.forgotten_at).max(self.known_until)
    }

    fn text(&self) -> String {
        let Self { failures, since, locked_until, lockouts, forgotten_at, known_until } = self;
        let [since, locked_until, forgotten_at, known_until] =
            [since, locked_until, forgotten_at, known_until].map(|time| time.as_micros());
        format!("{failures}:{since}:{locked_until}:{lockouts}:{forgotten_at}:{known_until}")
    }

    fn from_text(text: &str) -> Option<Self> {
        let numbers = text.split(':').map(|part| part.parse().ok()).collect::<Option<Vec<u64>>>()?;
        let [failures, since, locked_until, lockouts, forgotten_at, known_until] = *numbers.as_slice() else {
            return None;
        };
        let time = Timestamp::from_micros;
        Some(Self {
            failures: u32::try_from(failures).ok()?,
            since: time(since),
            locked_until: time(locked_until),
            lockouts: u32::try_from(lockouts).ok().filter(|lockouts| *lockouts <= 32)?,
            forgotten_at: time(forgotten_at),
            known_until: time(known_until),
        })
    }
}

impl Failures {
    /// The most known sources of a key that are kept. Of more the oldest is forgotten; only a source that succeeds makes another
    /// so, whatever strangers do.
    pub const MAX_KNOWN: usize = 64;
    /// The most other sources of a key that are kept. Of more the oldest is forgotten: its failures still count for the key.
    pub const MAX_STRANGERS: usize = 32;
    /// The longest name of a source, in bytes; the shortest has one.
    pub const MAX_SOURCE_NAME: usize = super::attempt::MAX_SOURCE_NAME;

    /// Counts an attempt as failed, or says that it must not be made. `now` is of any clock of the backend, better one
    /// that is never set back. Answers with it whether anything has changed.
    pub fn attempt(&mut self, request: &AttemptRequest, now: Timestamp) -> (AttemptOutcome, bool) {
        let stored =
            |name: &str| self.sources.iter().find(|(stored, _)| stored == name).map(|(_, record)| *record);
        let mut overall = self.overall;
        let mut source =
            request.source.as_ref().map(|(name, lockout)| (name, lockout, stored(name).unwrap_or_default()));
        let known = source.as_ref().is_some_and(|(_, _, record)| record.known_until > now);
        if request.only_known && !known {
            return (AttemptOutcome::Unknown, false);
        }
        let mut moved = overall.settle(&request.overall, now);
        if let Some((_, lockout, record)) = &mut source {
            moved |= record.settle(lockout, now);
        }
        let locked = match &source {
            Some((_, _, record)) if record.is_locked(now) => Some((record.locked_until, LockedBy::Source)),
            _ if overall.is_locked(now) && !known => Some((overall.locked_until, LockedBy::Overall)),
            _ => None,
        };
        if let Some((until, by)) = locked {
            if moved {
                self.overall = overall;
                self.put(source.map(|(name, _, record)| (name.as_str(), record)));
            }
            return (AttemptOutcome::Locked { retry_after: until.saturating_since(now), by }, moved);
        }
        let mut ticket = AttemptTicket::new(NEVER, NEVER, known, None);
        // A known source is admitted while the key is locked out, and makes that no longer.
        if !overall.is_locked(now) {
            ticket.locks_for = overall.count(&request.overall, now);
            ticket.overall = overall.since;
            self.until = self.until.max(overall.lasts(&request.overall));
        }
        if let Some((_, lockout, record)) = &mut source {
            ticket.locks_for = record.count(lockout, now).max(ticket.locks_for);
            ticket.source = record.since;
            self.until = self.until.max(record.lasts(lockout));
        }
        self.overall = overall;
        self.put(source.map(|(name, _, record)| (name.as_str(), record)));
        self.forget_sources(request.source.as_ref().map(|(name, _)| name.as_str()), now);
        (AttemptOutcome::Admitted(ticket), true)
    }

    /// Says what became of an attempt, or lifts lock-outs.
    pub fn settle(&mut self, settlement: &Settlement, now: Timestamp) {
        match settlement {
            Settlement::Withdrawn { source, ticket } => {
                self.overall.take_back(ticket.overall);
                if let Some(source) = source
                    && let Some((_, record)) = self.sources.iter_mut().find(|(name, _)| name == source)
                {
                    record.take_back(ticket.source);
                }
            }
            Settlement::Succeeded { source, ticket, known_for } => {
                self.overall.take_back(ticket.overall);
                let stored = self.sources.iter().find(|(name, _)| name == source).map(|(_, record)| *record);
                let mut record = stored.unwrap_or_default();
                record.take_back(ticket.source);
                (record.failures, record.locked_until) = (0, NEVER);
                record.known_until = record.known_until.max(now.saturating_add(known_for.as_duration()));
                self.until = self.until.max(record.known_until);
                self.put(Some((source, record)));
                self.forget_sources(Some(source), now);
            }
            Settlement::Unlocked => {
                self.overall.unlock();
                self.sources.retain(|(_, record)| record.known_until > now);
                self.sources.iter_mut().for_each(|(_, record)| record.unlock());
                self.until = self.sources.iter().map(|(_, record)| record.known_until).max().unwrap_or(NEVER);
            }
        }
    }

    /// Until when this says anything, by the clock of `now`: then it is as good as [`Failures::default`].
    pub const fn until(&self) -> Timestamp {
        self.until
    }

    fn put(&mut self, source: Option<(&str, Record)>) {
        let Some((name, record)) = source else { return };
        match self.sources.iter_mut().find(|(stored, _)| stored == name) {
            Some((_, stored)) => *stored = record,
            None => self.sources.push((name.to_owned(), record)),
        }
    }

    /// Makes room: the oldest known sources for known ones, and the oldest strangers for strangers.
    fn forget_sources(&mut self, but: Option<&str>, now: Timestamp) {
        for (known, most) in [(true, Self::MAX_KNOWN), (false, Self::MAX_STRANGERS)] {
            let of_sort = |record: &Record| (record.known_until > now) == known;
            let mut sort: Vec<_> = self.sources.iter().filter(|(_, record)| of_sort(record)).collect();
            let over = sort.len().saturating_sub(most);
            if over == 0 {
                continue;
            }
            sort.sort_by_key(|(name, record)| (record.last(), name));
            let others = sort.into_iter().map(|(name, _)| name).filter(|name| Some(name.as_str()) != but);
            let gone: HashSet<_> = others.take(over).cloned().collect();
            self.sources.retain(|(name, _)| !gone.contains(name));
        }
    }

    /// The stored form: names and texts.
    pub fn fields(&self) -> impl Iterator<Item = (String, String)> + '_ {
        let sources = self.sources.iter().map(|(name, record)| (format!("@{name}"), record.text()));
        std::iter::once(("*".to_owned(), self.overall.text())).chain(sources)
    }

    /// What was stored as its [`fields`](Self::fields), and is kept until `until`.
    ///
    /// # Errors
    /// [`Codec`](ErrorKind::Codec) for a text that can't have been stored.
    pub fn from_fields(fields: impl IntoIterator<Item = (String, String)>, until: Timestamp) -> Result<Self> {
        let mut failures = Self { until, ..Self::default() };
        for (name, text) in fields {
            let record = Record::from_text(&text)
                .ok_or_else(|| Error::new(ErrorKind::Codec, "what is stored are no failed attempts"))?;
            match name.strip_prefix('@') {
                Some(source) => failures.sources.push((source.to_owned(), record)),
                None if name == "*" => failures.overall = record,
                // Not ours, and counts for nothing.
                None => {}
            }
        }
        Ok(failures)
    }
}
