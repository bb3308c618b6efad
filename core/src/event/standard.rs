//! The events of this domain, so that every service spells them the same way.

use serde::{Deserialize, Serialize};

use super::Event;
pub use crate::session::SessionEnd;

macro_rules! events {
    ($($(#[$doc:meta])* $name:ident = $event_type:literal, subject $subject:ident {
        $($(#[$field_doc:meta])* $field:ident: $ty:ty,)*
    })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name {
            $($(#[$field_doc])* pub $field: $ty,)*
        }

        impl Event for $name {
            const TYPE: &'static str = $event_type;

            fn subject(&self) -> Option<String> {
                Some(self.$subject.to_string())
            }
        }
    )*

    #[cfg(test)]
    const ALL: &[&str] = &[$($event_type),*];
    };
}

events! {
    /// `user.created`: a user has come into being.
    UserCreated = "user.created", subject user_id {
        /// The user.
        user_id: String,
    }

    /// `user.updated`: something of a user has changed; whoever holds a copy drops it.
    UserUpdated = "user.updated", subject user_id {
        /// The user.
        user_id: String,
        /// The names of the fields that changed; empty if not said.
        changed: Vec<String>,
    }

    /// `user.deleted`: a user is gone.
    UserDeleted = "user.deleted", subject user_id {
        /// The user.
        user_id: String,
    }

    /// `auth.token_issued`: a token was issued. The token itself is never in an event.
    TokenIssued = "auth.token_issued", subject user_id {
        /// Whose it is.
        user_id: String,
        /// The token's id.
        jti: String,
    }

    /// `auth.token_revoked`: a token, or all of a user, were revoked.
    TokenRevoked = "auth.token_revoked", subject user_id {
        /// Whose it was.
        user_id: String,
        /// The token's id; `None` if all of the user's were revoked.
        jti: Option<String>,
    }

    /// `auth.refresh_reused`: a refresh token was used that had been used up; its family has ended. Somebody has what they should not.
    RefreshReused = "auth.refresh_reused", subject user_id {
        /// Whose it was.
        user_id: String,
        /// The public name of the family.
        family_id: String,
    }

    /// `auth.session_created`: a session was opened.
    SessionCreated = "auth.session_created", subject user_id {
        /// Whose it is.
        user_id: String,
        /// The session's public id.
        session_id: String,
    }

    /// `auth.session_rotated`: a session goes on under another public id.
    SessionRotated = "auth.session_rotated", subject user_id {
        /// Whose it is.
        user_id: String,
        /// The public id that it had.
        session_id: String,
        /// The one that it has.
        new_session_id: String,
    }

    /// `auth.session_expired`: a session has ended.
    SessionExpired = "auth.session_expired", subject user_id {
        /// Whose it was.
        user_id: String,
        /// The session's public id.
        session_id: String,
        /// Why.
        reason: SessionEnd,
    }

    /// `auth.locked_out`: after too many failed attempts, further ones are refused for a while.
    LockedOut = "auth.locked_out", subject account {
        /// The account that the last of them was at, as it was given; there may be none of this name.
        account: String,
        /// The network that it came from: an IPv4 address, or a range of IPv6.
        network: String,
        /// What was attempted: the kind, such as `login`.
        kind: String,
        /// For how long, in seconds: the longest of the lock-outs that have begun.
        seconds: u64,
    }

    /// `cache.invalidated`: cached values were dropped.
    CacheInvalidated = "cache.invalidated", subject cache {
        /// Which cache: its kind.
        cache: String,
        /// The escaped keys.
        keys: Vec<String>,
        /// The stored keys of dropped tags: everything that carries one is dropped, here or in any cache.
        #[serde(default)]
        tags: Vec<String>,
    }

    /// `cache.warmed`: cached values were filled ahead of use.
    CacheWarmed = "cache.warmed", subject cache {
        /// Which cache: its kind.
        cache: String,
        /// How many values were filled.
        filled: u64,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::EventType;

    #[test]
    fn every_standard_type_is_a_valid_type() {
        assert_eq!(ALL.len(), 12);
        for event_type in ALL {
            assert!(EventType::new(event_type).is_ok(), "{event_type}");
        }
    }

    #[test]
    fn payloads_are_plain_json() {
        let event =
            SessionExpired { user_id: "u".into(), session_id: "s".into(), reason: SessionEnd::TimedOut };
        let json = serde_json::to_string(&event).unwrap();
        assert_eq!(json, r#"{"user_id":"u","session_id":"s","reason":"timed_out"}"#);
        assert_eq!(event.subject().as_deref(), Some("u"));
    }
}
