//! Log-ins that have begun: what was revoked meanwhile ends them.

use std::time::Duration;

use super::{Epoch, Scope, Tokens};
use crate::error::{Error, Result};
use crate::key::Name;
use crate::time::{Monotonic, Ttl, minutes};

/// A log-in that has begun: taken before the password is checked, it is stale once the user's sessions were all ended or the
/// user's tokens revoked, so that whoever knew the old password and was quick does not survive the change of it.
///
/// It belongs to this process, and lasts for [`LIFE`](Self::LIFE).
#[derive(Debug, Clone)]
pub struct LogInAttempt {
    user: String,
    service: Name,
    epochs: Vec<Epoch>,
    ends: Monotonic,
}

impl LogInAttempt {
    /// How long a log-in may take; it is stale after.
    pub const LIFE: Duration = minutes(10);

    /// Who logs in.
    pub fn user(&self) -> &str {
        &self.user
    }
}

/// What ends a log-in of this user.
fn scopes(user: &str) -> [Scope; 3] {
    [Scope::Service, Scope::User(user.to_owned()), Scope::LogIn(user.to_owned())]
}

impl Tokens {
    /// Begins a log-in: call it before the password is checked, and hand it to
    /// [`issue_for`](Self::issue_for), or to [`Sessions::create_for`](crate::session::Sessions::create_for).
    ///
    /// # Errors
    /// Those of [every method](Tokens#errors).
    ///
    /// # Cancel safety
    /// Dropping the future has no effect.
    pub async fn begin(&self, user: &str) -> Result<LogInAttempt> {
        self.agree_to_check().await?;
        let inner = &*self.0;
        // Before the epochs are read: an attempt never lasts for longer than what would end it is kept.
        let ends = inner.environment.clock.now().saturating_add(LogInAttempt::LIFE);
        let epochs = self.with_floor(inner.store.epochs(&inner.service, &scopes(user)).await?).await?;
        Ok(LogInAttempt { user: user.to_owned(), service: inner.service.clone(), epochs, ends })
    }

    /// Whether the attempt's log-in must not succeed any more.
    pub(crate) async fn is_stale(&self, attempt: &LogInAttempt) -> Result<bool> {
        let inner = &*self.0;
        if attempt.service != inner.service {
            return Err(Error::invalid(format!(
                "the log-in began at {}, not at {}",
                attempt.service, inner.service
            )));
        }
        let epochs = inner.store.epochs(&inner.service, &scopes(&attempt.user)).await?;
        // An epoch that is gone fails closed. The time is looked at last.
        Ok(epochs != attempt.epochs || inner.environment.clock.now() >= attempt.ends)
    }

    /// Ends every log-in of a user that has begun so far.
    pub(crate) async fn end_log_ins(&self, user: &str) -> Result<()> {
        self.agree_to_check().await?;
        let inner = &*self.0;
        let (scope, ttl) = (Scope::LogIn(user.to_owned()), LogInAttempt::LIFE.saturating_add(2 * Self::SKEW));
        inner.store.revoke_all(&inner.service, &scope, Ttl::new(ttl)?).await?;
        inner.telemetry.revoked_scope(&scope);
        Ok(())
    }
}
