//! What is stored of a session, field by field.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use redis::Value;
use stanchion::session::{
    Device, NewSession, Patch, SessionBounds, SessionCapabilities, SessionId, SessionRecord, SessionSummary,
};
use stanchion::time::Timestamp;

use crate::reply;

/// What the names of data fields begin with, so that they never meet the record's own fields.
const DATA: &str = "d:";

/// Fields as they are stored, each with its value.
pub(super) struct Fields<'a>(Vec<(String, &'a [u8])>);

impl<'a> Fields<'a> {
    fn of(data: &'a BTreeMap<String, bytes::Bytes>, device: &'a Device) -> Self {
        let data = data.iter().map(|(name, value)| ([DATA, name].concat(), value.as_ref()));
        let device = [("label", &device.label), ("address", &device.address)];
        let device = device
            .into_iter()
            .filter_map(|(name, text)| text.as_ref().map(|text| (name.to_owned(), text.as_bytes())));
        Self(data.chain(device).collect())
    }

    /// Those that a new session starts with.
    pub(super) fn of_new(session: &'a NewSession) -> Self {
        Self::of(&session.data, &session.device)
    }

    /// Names and values in turn.
    pub(super) fn args(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().flat_map(|(name, value)| [name.as_bytes(), *value])
    }
}

/// A patch, as the scripts take it: the version it expects, how much a session may hold, and the fields.
pub(super) struct Change<'a> {
    numbers: [String; 4],
    set: Fields<'a>,
    removed: Vec<String>,
}

impl<'a> Change<'a> {
    pub(super) fn new(can: SessionCapabilities, patch: &'a Patch) -> Self {
        let set = Fields::of(&patch.set, &patch.device);
        let expected = patch.expected_version.map(|version| version.to_string()).unwrap_or_default();
        let [fields, bytes, count] =
            [can.max_fields, can.max_data_bytes, 2 * set.0.len()].map(|number| number.to_string());
        let removed = patch.remove.iter().map(|name| [DATA, name].concat()).collect();
        Self { numbers: [expected, fields, bytes, count], set, removed }
    }

    pub(super) fn args(&self) -> impl Iterator<Item = &[u8]> {
        let texts = self.numbers.iter().map(String::as_bytes);
        texts.chain(self.set.args()).chain(self.removed.iter().map(String::as_bytes))
    }
}

/// The times of a new session, as the scripts take them.
pub(super) fn lives(session: &NewSession) -> [String; 4] {
    let own = if session.own_timeouts { "1" } else { "" };
    let millis = [
        u128::from(session.idle.as_millis()),
        u128::from(session.absolute.as_millis()),
        session.touch_every.as_millis(),
    ];
    let [idle, absolute, every] = millis.map(|millis| millis.to_string());
    [idle, absolute, every, own.to_owned()]
}

/// The times and what decides on them, in µs.
pub(super) struct Times {
    created: u64,
    used: u64,
    deadline: u64,
    ends: u64,
    /// When the next use is due to be recorded.
    due: u64,
}

impl Times {
    /// `None` if they can't be read.
    fn read(number: impl Fn(&str) -> Option<Option<u64>>, own: bool, bounds: SessionBounds) -> Option<Self> {
        let known = |name| number(name).flatten();
        let (used, idle, created) = (known("used")?, known("idle")?, known("created")?);
        // Absent in what was stored before there was such a field.
        let every = number("every").unwrap_or(Some(0))?;
        let bounds = bounds.of(own);
        let micros = |millis: u64| millis.saturating_mul(1_000);
        let deadline = known("deadline")?.min(created.saturating_add(micros(bounds.absolute.as_millis())));
        let idle = idle.min(bounds.idle.as_millis()).saturating_add(every);
        let (ends, due) =
            (used.saturating_add(micros(idle)).min(deadline), used.saturating_add(micros(every)));
        Some(Self { created, used, deadline, ends, due })
    }

    fn left(&self, now: u64) -> Duration {
        Duration::from_micros(self.ends.saturating_sub(now))
    }
}

/// The record in these fields, with what was left of its life at `now`; zero if it had ended.
pub(super) fn record(
    id: &SessionId,
    now: u64,
    fields: Value,
    bounds: SessionBounds,
) -> Option<SessionRecord> {
    let (mut user, mut data, mut numbers, mut device) =
        (None, BTreeMap::new(), HashMap::new(), Device::new());
    let mut fields = reply::array(fields)?.into_iter();
    while let Some(name) = fields.next() {
        let (name, value) = (reply::text(name)?, fields.next()?);
        if let Some(name) = name.strip_prefix(DATA) {
            data.insert(name.to_owned(), reply::bytes(value)?);
            continue;
        }
        match name.as_str() {
            "user" => user = reply::text(value),
            "label" => device.label = reply::text(value),
            "address" => device.address = reply::text(value),
            _ => drop(numbers.insert(name, reply::count(value))),
        }
    }
    let times = Times::read(|name| numbers.get(name).copied(), numbers.contains_key("own"), bounds)?;
    let record = SessionRecord::new(
        id.clone(),
        user?,
        data,
        numbers.get("version").copied().flatten()?,
        Timestamp::from_micros(times.created),
        Timestamp::from_micros(times.used),
        Timestamp::from_micros(times.deadline),
        times.left(now),
    );
    let due_in = Duration::from_micros(times.due.saturating_sub(now));
    Some(record.device(device).use_due_in(due_in))
}

/// One of these fields.
pub(super) fn field(fields: &[Value], wanted: &str) -> Option<Value> {
    let mut pairs = fields.chunks_exact(2);
    let is_it = |pair: &&[Value]| matches!(&pair[0], Value::BulkString(name) if name == wanted.as_bytes());
    pairs.find(is_it).map(|pair| pair[1].clone())
}

/// The text of one of these fields.
pub(super) fn text_of(fields: &Value, wanted: &str) -> Option<String> {
    let Value::Array(fields) = fields else {
        return None;
    };
    field(fields, wanted).and_then(reply::text)
}

/// The fields of a summary, in the order in which they are listed.
const LISTED: [&str; 10] =
    ["user", "label", "address", "version", "used", "idle", "deadline", "created", "every", "own"];

/// The summary in all of these fields and values.
pub(super) fn summary_of_whole(
    id: SessionId,
    now: u64,
    fields: &Value,
    bounds: SessionBounds,
) -> Option<SessionSummary> {
    let Value::Array(fields) = fields else {
        return None;
    };
    let values = LISTED.map(|name| field(fields, name).unwrap_or(Value::Nil));
    summary(id, now, Value::Array(values.into()), bounds)
}

/// The summary in the values of [`LISTED`], with what was left of its life at `now`; zero if it had ended.
pub(super) fn summary(
    id: SessionId,
    now: u64,
    values: Value,
    bounds: SessionBounds,
) -> Option<SessionSummary> {
    let mut values: HashMap<_, _> = LISTED.into_iter().zip(reply::array(values)?).collect();
    values.retain(|_, value| *value != Value::Nil);
    let mut text = |name| values.remove(name).and_then(reply::text);
    let (user, label, address) = (text("user")?, text("label"), text("address"));
    let number = |name: &str| values.get(name).map(|value| reply::count(value.clone()));
    // Without one nobody could load it.
    number("version").flatten()?;
    let times = Times::read(number, values.contains_key("own"), bounds)?;
    let mut device = Device::new();
    (device.label, device.address) = (label, address);
    Some(SessionSummary::new(
        id,
        user,
        Timestamp::from_micros(times.created),
        Timestamp::from_micros(times.used),
        Timestamp::from_micros(times.deadline),
        times.left(now),
        device,
    ))
}
