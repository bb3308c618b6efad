//! An event as it travels: a CloudEvents 1.0 envelope in JSON.

use std::fmt;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::clock::Clock;
use crate::error::{Error, ErrorKind, Result};
use crate::key::Name;
use crate::random::Random;
use crate::time::Timestamp;

/// The type of an event: a domain and at least one more name, with dots between: `user.updated`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventType {
    text: String,
    domain: Name,
}

impl EventType {
    /// The longest type, in bytes.
    pub const MAX: usize = 255;

    /// Checks a type: names as in [`Name`], joined by dots, at least two of them.
    pub fn new(text: &str) -> Result<Self> {
        let mut names = text.split('.').map(Name::new);
        let (Some(domain), Some(_), true) = (names.next(), text.split('.').nth(1), text.len() <= Self::MAX)
        else {
            return Err(Error::invalid(format!("an event type is 'domain.name', got {text:?}")));
        };
        let domain = domain?;
        names.try_for_each(|name| name.map(drop))?;
        Ok(Self { text: text.to_owned(), domain })
    }

    /// The whole type.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The part before the first dot: what is subscribed to.
    pub fn domain(&self) -> &Name {
        &self.domain
    }
}

impl fmt::Display for EventType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The id of an event: a UUID of version 7, so that ids sort by time. Other programs may use any text.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(String);

impl EventId {
    /// A new id.
    pub fn generate(clock: &dyn Clock, random: &dyn Random) -> Result<Self> {
        let mut bytes = [0; 10];
        random.fill(&mut bytes)?;
        let id =
            uuid::Builder::from_unix_timestamp_millis(clock.wall().as_micros() / 1_000, &bytes).into_uuid();
        Ok(Self(id.to_string()))
    }

    /// The id of what happened at this time and is named by these parts: the same for the same, so that one who is delivered
    /// it twice notices.
    pub fn derived(at: Timestamp, parts: &[&[u8]]) -> Self {
        let mut hash = Sha256::new();
        for part in parts {
            // With their lengths, so that no two lists of parts are the same bytes.
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        let mut bytes = [0; 10];
        bytes.copy_from_slice(&hash.chain_update(at.as_micros().to_be_bytes()).finalize()[..10]);
        let id = uuid::Builder::from_unix_timestamp_millis(at.as_micros() / 1_000, &bytes).into_uuid();
        Self(id.to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// An event: what happened, where, when, to whom, and the data. Its JSON form is a
/// [CloudEvents 1.0](https://cloudevents.io) structured event, described in `core/docs/wire-format.md`.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Envelope {
    /// Unique per source.
    pub id: EventId,
    /// The service that says so.
    pub source: String,
    /// What happened.
    pub event_type: EventType,
    /// When, by the source's clock.
    pub time: Timestamp,
    /// What it is about: a user id, say.
    pub subject: Option<String>,
    /// The W3C trace context of the span that published it.
    pub traceparent: Option<String>,
    /// Its vendor part.
    pub tracestate: Option<String>,
    /// The payload.
    pub data: serde_json::Value,
}

impl Envelope {
    /// An event without subject and trace context.
    pub fn new(
        id: EventId,
        source: impl Into<String>,
        event_type: EventType,
        time: Timestamp,
        data: serde_json::Value,
    ) -> Self {
        Self {
            id,
            source: source.into(),
            event_type,
            time,
            subject: None,
            traceparent: None,
            tracestate: None,
            data,
        }
    }

    /// With what it is about.
    #[must_use]
    pub fn subject(mut self, subject: Option<String>) -> Self {
        self.subject = subject;
        self
    }

    /// With the W3C trace context (`traceparent`, `tracestate`) of the span that publishes it.
    #[must_use]
    pub fn trace(mut self, parent: Option<String>, state: Option<String>) -> Self {
        self.traceparent = parent;
        self.tracestate = state;
        self
    }

    /// The JSON form.
    pub fn to_json(&self) -> Result<Bytes> {
        let wire = Wire {
            specversion: "1.0".into(),
            id: self.id.clone(),
            source: self.source.as_str().into(),
            event_type: self.event_type.as_str().into(),
            time: self.time.to_string(),
            subject: self.subject.as_deref().map(Into::into),
            datacontenttype: Some("application/json".into()),
            traceparent: self.traceparent.clone(),
            tracestate: self.tracestate.clone(),
            data: self.data.clone(),
        };
        serde_json::to_vec(&wire)
            .map(Bytes::from)
            .map_err(|_| Error::new(ErrorKind::Codec, "the event can't be written as JSON"))
    }

    /// Reads the JSON form. Attributes that are not known are passed over, as CloudEvents asks.
    ///
    /// # Errors
    /// [`Codec`](ErrorKind::Codec) for anything that is no CloudEvent 1.0 of a type as in [`EventType`].
    pub fn from_json(bytes: &[u8]) -> Result<Self> {
        let malformed = |why: &str| Error::new(ErrorKind::Codec, format!("not an event: {why}"));
        let wire: Wire = serde_json::from_slice(bytes)
            .map_err(|e| malformed(&format!("{:?} error at column {}", e.classify(), e.column())))?;
        if wire.specversion != "1.0" {
            return Err(malformed("specversion is not 1.0"));
        }
        if wire.id.as_str().is_empty() || wire.source.is_empty() {
            return Err(malformed("id or source is empty"));
        }
        Ok(Self {
            id: wire.id,
            source: wire.source,
            event_type: EventType::new(&wire.event_type)
                .map_err(|_| malformed("its type is not 'domain.name'"))?,
            time: wire.time.parse().map_err(|_| malformed("its time is not RFC 3339"))?,
            subject: wire.subject,
            traceparent: wire.traceparent,
            tracestate: wire.tracestate,
            data: wire.data,
        })
    }
}

/// The attributes in the order in which they are written.
#[derive(Serialize, Deserialize)]
struct Wire {
    specversion: String,
    id: EventId,
    source: String,
    #[serde(rename = "type")]
    event_type: String,
    time: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    datacontenttype: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    tracestate: Option<String>,
    #[serde(default)]
    data: serde_json::Value,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_reads_what_it_writes() {
        let event = Envelope::new(
            EventId("0197".into()),
            "user-service",
            EventType::new("user.updated").unwrap(),
            Timestamp::from_micros(1_750_000_000_000_001),
            serde_json::json!({"user_id": "u1"}),
        )
        .subject(Some("u1".into()))
        .trace(Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".into()), None);
        let json = event.to_json().unwrap();
        assert_eq!(
            std::str::from_utf8(&json).unwrap(),
            r#"{"specversion":"1.0","id":"0197","source":"user-service","type":"user.updated","time":"2025-06-15T15:06:40.000001Z","subject":"u1","datacontenttype":"application/json","traceparent":"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01","data":{"user_id":"u1"}}"#
        );
        assert_eq!(Envelope::from_json(&json).unwrap(), event);
    }

    #[test]
    fn what_is_no_event_is_refused_without_quoting_it() {
        for bad in [
            &b""[..],
            b"\xff",
            b"[]",
            b"{}",
            br#"{"specversion":"0.3","id":"1","source":"s","type":"a.b","time":"2025-06-15T15:06:40Z"}"#,
            br#"{"specversion":"1.0","id":"","source":"s","type":"a.b","time":"2025-06-15T15:06:40Z"}"#,
            br#"{"specversion":"1.0","id":"1","source":"s","type":"secret","time":"2025-06-15T15:06:40Z"}"#,
            br#"{"specversion":"1.0","id":"1","source":"s","type":"a.b","time":"secret"}"#,
        ] {
            let error = Envelope::from_json(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Codec);
            assert!(!error.to_string().contains("secret"));
        }
    }

    #[test]
    fn a_type_has_a_domain_and_a_name() {
        assert_eq!(EventType::new("auth.token_issued").unwrap().domain().as_str(), "auth");
        for bad in ["", "user", ".updated", "user.", "user..x", "User.updated", "user.up dated", "u{s}er.x"] {
            assert!(EventType::new(bad).is_err(), "{bad:?}");
        }
    }
}
