//! How keys and channels look on the server; see `core/docs/wire-format.md`.

use std::borrow::Cow;

use stanchion::Result;
use stanchion::key::{Key, Name, bucket_of, escape};
use stanchion::session::SessionId;
use stanchion::token::{FamilyId, Scope};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::command::slot_of_parts;
use crate::copies::{self, Group};

/// The deployment's prefix and bucket counts.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    /// Empty, or the prefix and a colon.
    prefix: String,
    buckets: u16,
    /// Whether generations are kept in copies.
    copies: bool,
}

impl Layout {
    pub(crate) fn new(prefix: Option<&Name>, buckets: u16) -> Self {
        Self { prefix: prefix.map(|prefix| format!("{prefix}:")).unwrap_or_default(), buckets, copies: false }
    }

    /// With generations in [copies], as on a Cluster.
    pub(crate) fn with_copies(mut self, copies: bool) -> Self {
        self.copies = copies;
        self
    }

    /// Whether generations are kept in [copies].
    pub(crate) fn has_copies(&self) -> bool {
        self.copies
    }

    pub(crate) fn buckets(&self) -> u16 {
        self.buckets
    }

    fn with_prefix(&self, rest: std::fmt::Arguments<'_>) -> String {
        format!("{}{rest}", self.prefix)
    }

    /// A key of the general layout, for caches, counters, limits and generations. Without a prefix it is the key's
    /// own text.
    pub(crate) fn key<'a>(&self, key: &'a Key) -> Cow<'a, str> {
        if self.prefix.is_empty() {
            Cow::Borrowed(key.as_str())
        } else {
            Cow::Owned([&self.prefix, key.as_str()].concat())
        }
    }

    /// The slot of such a key.
    pub(crate) fn slot_of(&self, key: &Key) -> u16 {
        // Neither has a brace.
        slot_of_parts([&self.prefix, key.as_str()])
    }

    /// One of the copies of a generation.
    pub(crate) fn copy(&self, key: &Key, copy: usize) -> String {
        self.with_prefix(format_args!("{}", Group::of(key).copy(key.as_str(), copy)))
    }

    /// The lease on filling a cached value, by the value's own stored key, which has no brace: as hash tag it puts
    /// the lease into the same slot, and before it the brace keeps it out of the namespace that is watched.
    pub(crate) fn lease(stored: &str) -> String {
        format!("{{{stored}}}:lease")
    }

    /// The key of a stored key; of a copy, that of its generation.
    pub(crate) fn original<'a>(&self, stored: &'a [u8]) -> Option<Cow<'a, str>> {
        let key = std::str::from_utf8(stored.strip_prefix(self.prefix.as_bytes())?).ok()?;
        Some(if self.copies { copies::original(key) } else { Cow::Borrowed(key) })
    }

    /// What the stored keys of a namespace begin with, and no others.
    pub(crate) fn begins(&self, namespace: &str) -> String {
        self.with_prefix(format_args!("{namespace}:"))
    }

    /// The channel on which changes in a namespace are published, where the server does not track them.
    pub(crate) fn invalidated(&self, namespace: &str) -> String {
        self.with_prefix(format_args!("invalidated:{namespace}"))
    }

    /// The record of the layout itself.
    pub(crate) fn meta(&self) -> String {
        self.with_prefix(format_args!("stanchion:meta"))
    }

    /// What all keys of the sessions in one bucket begin with; the braces are the hash tag.
    pub(crate) fn sessions(&self, service: &Name, bucket: u16) -> String {
        self.with_prefix(format_args!("{service}:session:{{{}}}:", bucket % self.buckets))
    }

    /// One session.
    pub(crate) fn session(&self, service: &Name, id: &SessionId) -> String {
        format!("{}s:{}", self.sessions(service, id.bucket()), id.hash_text())
    }

    /// The index of a user's sessions, in the slot of all of them.
    pub(crate) fn session_index(&self, service: &Name, user: &str) -> Result<String> {
        Ok(format!("{}u:{}", self.sessions(service, bucket_of(user)), escape(user)?))
    }

    /// The expiries of the published sessions in one bucket.
    pub(crate) fn expiries(&self, service: &Name, bucket: u16) -> String {
        self.sessions(service, bucket) + "e"
    }

    /// What is to be published of the sessions in one bucket.
    pub(crate) fn outbox(&self, service: &Name, bucket: u16) -> String {
        self.sessions(service, bucket) + "o"
    }

    /// Who has a claim on that.
    pub(crate) fn outbox_claim(&self, service: &Name, bucket: u16) -> String {
        self.sessions(service, bucket) + "c"
    }

    /// Who has the right to reap the sessions of a service.
    pub(crate) fn session_reaper(&self, service: &Name) -> String {
        self.with_prefix(format_args!("{service}:session:reaper"))
    }

    /// A revoked token.
    pub(crate) fn jti(&self, service: &Name, jti: &str) -> String {
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(jti.as_bytes()));
        self.with_prefix(format_args!("{service}:token:jti:{hash}"))
    }

    /// A name that is used once.
    pub(crate) fn first_use(&self, service: &Name, name: &str) -> String {
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(name.as_bytes()));
        self.with_prefix(format_args!("{service}:once:{hash}"))
    }

    /// A family of refresh tokens.
    pub(crate) fn family(&self, service: &Name, id: &FamilyId) -> String {
        self.with_prefix(format_args!("{service}:refresh:{id}"))
    }

    /// The epoch of a scope.
    pub(crate) fn scope(&self, service: &Name, scope: &Scope) -> Result<String> {
        Ok(self.with_prefix(format_args!("{service}:token:{}", scope.segment()?)))
    }

    /// What all who share the service's tokens agree on.
    pub(crate) fn token_settings(&self, service: &Name) -> String {
        self.with_prefix(format_args!("{service}:token:settings"))
    }

    /// A lock, with its last fence.
    pub(crate) fn lock(&self, key: &Key) -> String {
        let bucket = bucket_of(key.as_str()) % self.buckets;
        // The key's own namespace is the same for every lock.
        let name = key.as_str().splitn(3, ':').nth(2).unwrap_or_default();
        self.with_prefix(format_args!("locks:{{{bucket}}}:l:{name}"))
    }

    /// The channel of a domain.
    pub(crate) fn channel(&self, domain: &Name) -> String {
        self.with_prefix(format_args!("events:{domain}:channel"))
    }
}

/// The namespace of a key: its first two segments.
pub(crate) fn namespace_of(key: &str) -> Option<&str> {
    let (end, _) = key.match_indices(':').nth(1)?;
    key.get(..end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::slot;

    fn layout() -> Layout {
        Layout::new(Some(&Name::new("staging").unwrap()), 1_024)
    }

    #[test]
    fn keys_read_as_the_wire_format_says() {
        let key = Key::new("cache", "user", "u{1}").unwrap();
        assert_eq!(layout().key(&key), "staging:cache:user:u%7B1%7D");
        assert_eq!(Layout::new(None, 1).key(&key), "cache:user:u%7B1%7D");
        assert_eq!(Layout::new(None, 1).meta(), "stanchion:meta");
        let service = Name::new("auth").unwrap();
        assert_eq!(
            layout().scope(&service, &Scope::User("a:b".into())).unwrap(),
            "staging:auth:token:user:a%3Ab"
        );
        assert_eq!(layout().channel(&Name::new("user").unwrap()), "staging:events:user:channel");
        let lock = Layout::new(None, 1).lock(&Key::new("locks", "lock", "a b").unwrap());
        assert_eq!(lock, "locks:{0}:l:a%20b");
    }

    #[test]
    fn the_examples_of_buckets_in_the_wire_format_hold() {
        let lock = Key::new("locks", "lock", "nightly-report").unwrap();
        assert_eq!(lock.as_str(), "locks:lock:nightly-report");
        assert_eq!(bucket_of(lock.as_str()), 17_152);
        assert_eq!(Layout::new(None, 1_024).lock(&lock), "locks:{768}:l:nightly-report");
        assert_eq!(layout().lock(&lock), "staging:locks:{768}:l:nightly-report");
        assert_eq!(Key::new("locks", "lock", "a b").unwrap().as_str(), "locks:lock:a%20b");
        assert_eq!(bucket_of("u1"), 48_002);
        let service = Name::new("auth-service").unwrap();
        let index = Layout::new(None, 1_024).session_index(&service, "u1").unwrap();
        assert_eq!(index, "auth-service:session:{898}:u:u1");
    }

    #[test]
    fn the_namespace_of_a_key_is_its_first_two_segments() {
        for (key, namespace) in [
            ("cache:user:u1", Some("cache:user")),
            ("cache:user:u1:sub", Some("cache:user")),
            ("cache:user", None),
            ("", None),
        ] {
            assert_eq!(namespace_of(key), namespace, "{key}");
        }
    }

    #[test]
    fn what_one_script_touches_is_in_one_slot() {
        for id in ["u1", "u{1}", "{", "}", "{}", "a:b"] {
            for layout in [layout(), Layout::new(None, 1)] {
                let key = Key::new("cache", "user", id).unwrap().subkey(id).unwrap();
                let entry = layout.key(&key);
                let lease = Layout::lease(&entry);
                assert_eq!(slot(entry.as_bytes()), slot(lease.as_bytes()), "{lease}");
                assert!(
                    !lease.starts_with(&layout.begins("cache:user")),
                    "{lease} would be tracked as a change"
                );
            }
        }
        let service = Name::new("auth").unwrap();
        let index = layout().session_index(&service, "u{x}1").unwrap();
        let session = layout().sessions(&service, bucket_of("u{x}1")) + "s:abc";
        assert_eq!(slot(index.as_bytes()), slot(session.as_bytes()));
    }
}
