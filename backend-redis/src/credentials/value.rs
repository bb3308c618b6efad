//! User and password.

use std::fmt;
use std::time::Duration;

use redis::RedisConnectionInfo;

/// A user, its password, and for how long a server honours them. `Debug` shows no password.
///
/// ```
/// use stanchion_redis::Credentials;
/// use std::time::Duration;
///
/// let token = Credentials::new("svc", "a-token-of-15-minutes").lifetime(Duration::from_mins(15));
/// assert!(!format!("{token:?}").contains("a-token"));
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    username: Option<String>,
    password: String,
    lifetime: Option<Duration>,
}

impl Credentials {
    /// A user with a password. The empty one is a password too, which a server takes for a user that needs none (`nopass`).
    /// Without a name it is the user `default`.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        let username = Some(username.into()).filter(|name| !name.is_empty());
        Self { username, password: password.into(), lifetime: None }
    }

    /// The password of the user `default`, for servers that have only that (`requirepass`).
    pub fn password(password: impl Into<String>) -> Self {
        Self::new("", password)
    }

    /// For how long they are good, from when they are handed out; for ever unless set. Connections that live are
    /// authenticated anew when three quarters of it, and up to an eighth more, are over; a time of less than a second is taken
    /// for one second.
    #[must_use]
    pub const fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = Some(lifetime);
        self
    }

    /// Those in a URL: `None` where it names neither a user nor a password.
    pub(crate) fn of(settings: &RedisConnectionInfo) -> Option<Self> {
        match (settings.username().unwrap_or_default(), settings.password().unwrap_or_default()) {
            ("", "") => None,
            (username, password) => Some(Self::new(username, password)),
        }
    }

    /// The user's name, if it is not `default`.
    pub(crate) fn named(&self) -> Option<&str> {
        self.username.as_deref()
    }

    pub(crate) fn user(&self) -> &str {
        self.named().unwrap_or("default")
    }

    pub(crate) fn secret(&self) -> &str {
        &self.password
    }

    pub(crate) fn good_for(&self) -> Option<Duration> {
        self.lifetime.map(|lifetime| lifetime.max(Duration::from_secs(1)))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("username", &self.user())
            .field("password", &"***")
            .field("lifetime", &self.lifetime)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_password_is_shown_and_no_name_is_default() {
        let credentials = Credentials::new("svc", "sesame").lifetime(Duration::from_secs(7));
        let shown = format!("{credentials:?} {credentials:#?}");
        assert!(shown.contains("svc") && shown.contains("7s") && !shown.contains("sesame"), "{shown}");
        assert_eq!(Credentials::password("sesame").user(), "default");
        assert_eq!(
            Credentials::new("a", "b").lifetime(Duration::ZERO).good_for(),
            Some(Duration::from_secs(1))
        );
    }
}
