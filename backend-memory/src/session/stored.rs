//! One session, as it is kept.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use stanchion::session::{Device, NewSession, SessionBounds, SessionId, SessionRecord, Timeouts};
use stanchion::time::{Monotonic, Timestamp};

/// One instant, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) at: Monotonic,
    pub(super) wall: Timestamp,
}

#[derive(Debug)]
pub(super) struct Stored {
    pub(super) user: String,
    pub(super) data: BTreeMap<String, Bytes>,
    pub(super) version: u64,
    pub(super) device: Device,
    pub(super) publish: bool,
    // Numbers: they order creations and uses within one microsecond too.
    pub(super) created: u64,
    pub(super) used: u64,
    created_at: Now,
    used_at: Now,
    timeouts: Timeouts,
    touch_every: Duration,
    own_timeouts: bool,
}

impl Stored {
    /// The `number`th change makes this session.
    pub(super) fn new(session: NewSession, number: u64, now: Now) -> Self {
        // Whole milliseconds, as for every backend.
        let millis = u64::try_from(session.touch_every.as_millis()).unwrap_or(u64::MAX);
        Self {
            user: session.user,
            data: session.data,
            version: 1,
            device: session.device,
            publish: session.publish,
            created: number,
            used: number,
            created_at: now,
            used_at: now,
            timeouts: Timeouts::new(session.idle, session.absolute),
            touch_every: Duration::from_millis(millis),
            own_timeouts: session.own_timeouts,
        }
    }

    /// The lesser of what is stored and these bounds.
    fn timeouts(&self, bounds: SessionBounds) -> Timeouts {
        let bounds = bounds.of(self.own_timeouts);
        Timeouts::new(self.timeouts.idle.min(bounds.idle), self.timeouts.absolute.min(bounds.absolute))
    }

    /// When it ends if it is not used.
    pub(super) fn ends(&self, bounds: SessionBounds) -> Monotonic {
        let timeouts = self.timeouts(bounds);
        let idle = timeouts.idle.as_duration().saturating_add(self.touch_every);
        let absolute = self.created_at.at.saturating_add(timeouts.absolute.as_duration());
        self.used_at.at.saturating_add(idle).min(absolute)
    }

    /// Whether the next use is to be recorded.
    pub(super) fn is_touch_due(&self, now: Now) -> bool {
        now.at.saturating_since(self.used_at.at) >= self.touch_every
    }

    /// The `number`th change is a use of it.
    pub(super) fn touch(&mut self, number: u64, now: Now) {
        self.used = number;
        self.used_at = now;
    }

    pub(super) fn record(&self, id: &SessionId, bounds: SessionBounds, now: Now) -> SessionRecord {
        let absolute = self.timeouts(bounds).absolute.as_duration();
        SessionRecord::new(
            id.clone(),
            self.user.clone(),
            self.data.clone(),
            self.version,
            self.created_at.wall,
            self.used_at.wall,
            self.created_at.wall.saturating_add(absolute),
            self.ends(bounds).saturating_since(now.at),
        )
        .device(self.device.clone())
        .use_due_in(self.touch_every.saturating_sub(now.at.saturating_since(self.used_at.at)))
    }
}
