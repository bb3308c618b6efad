//! One call of a store, as a layer sees it, and the table of all of them.

use crate::cache::{SetEntry, SetOptions, When};
use crate::error::Effect;

/// One call of a store: which operation, and what may be done with it. Nothing of its arguments.
///
/// | operation | changes | idempotent | because |
/// |---|---|---|---|
/// | `cache.get`, `get_many`, `get_many_with_ttl`, `ttl` | no | yes | |
/// | `cache.set`, `set_many` | yes | only `When::Always` without a schema number | the second outcome of a condition is about the first set; and after [`Newer`](crate::cache::SetOutcome::Newer) the second would store the older form |
/// | `cache.remove_many` | yes | no | the second would say that nothing was there |
/// | `cache.touch` | yes | yes | |
/// | `cache.fetch` | yes | yes | the token that holds the lease is granted it again |
/// | `cache.fill` | yes | no | a value that is stored would be reported as fenced |
/// | `cache.release` | yes | yes | a lease that is no longer live is skipped |
/// | `cache.generations` | yes | yes | a generation that the first has made is the answer of the second |
/// | `cache.bump` | yes | yes | every bump invalidates; a second one costs a load of what was loaded in between |
/// | `cache.add` | yes | no | it would add twice |
/// | `session.load`, `list` | no | yes | |
/// | `session.create` | yes | no | the second would find its own id taken |
/// | `session.patch` | yes | no | the version would grow twice, or be in conflict with itself |
/// | `session.rotate` | yes | no | the second would find itself superseded |
/// | `session.use`, `touch` | yes | yes | |
/// | `session.lead` | yes | yes | the publisher that has the right keeps it |
/// | `session.reap` | yes | no | the second ends more than was asked for |
/// | `session.read_outbox`, `acknowledge` | yes | yes | a claim is kept by its publisher, and what is removed is gone |
/// | `session.destroy`, `destroy_all` | yes | no | the answer says what has ended, for its tokens to be revoked |
/// | `event.publish` | yes | no | it would be delivered twice |
/// | `event.subscribe` | no | yes | what fails leaves no subscription |
/// | `lock.acquire` | yes | yes | the token that holds the lock acquires it again |
/// | `lock.renew` | yes | yes | |
/// | `lock.release` | yes | no | a lock that is released would be reported as lost |
/// | `lock.inspect` | no | yes | |
/// | `limit.check`, `take_up_to`, `refund`, `add` | yes | no | it would take or give twice |
/// | `limit.peek` | no | yes | |
/// | `limit.reset` | yes | no | it would also forget what was taken in between |
/// | `limit.lease` | yes | yes | the holder that has a lease is granted it again |
/// | `limit.give_back` | yes | no | a place that is given back would be reported as lost |
/// | `limit.attempt` | yes | no | it would count twice |
/// | `limit.settle` | yes | no | it would take back another attempt of the same window too |
/// | `token.revoke` | yes | yes | |
/// | `token.revoke_all` | yes | yes | each epoch is greater: it also revokes what was issued while the call was in flight |
/// | `token.epochs`, `check` | no | yes | |
/// | `token.agree`, `floor` | yes | yes | what the first has recorded is the answer of the second |
/// | `token.claim` | yes | no | the second would find the name claimed, by nobody else |
/// | `token.open_family` | yes | no | the second would find its own name taken |
/// | `token.rotate` | yes | no | the second would find the token rotated |
/// | `token.end_family` | yes | no | the answer says what has ended |
///
/// Idempotent is said of effect and answer: a second call of an operation whose reply was lost does no more than the
/// first, and its answer is true of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Call {
    /// The operation, as `area.verb`: the same as in [`Error::operation`](crate::Error::operation).
    pub operation: &'static str,
    /// Whether it may change something in the store.
    pub changes: bool,
    /// Whether it may be repeated although the first may have been applied.
    pub idempotent: bool,
}

impl Call {
    const fn read(operation: &'static str) -> Self {
        Self { operation, changes: false, idempotent: true }
    }

    const fn repeatable(operation: &'static str) -> Self {
        Self { operation, changes: true, idempotent: true }
    }

    const fn once(operation: &'static str) -> Self {
        Self { operation, changes: true, idempotent: false }
    }

    /// The area: `cache`, `session`, `event`, `lock`, `limit` or `token`.
    pub fn area(&self) -> &'static str {
        self.operation.split_once('.').map_or(self.operation, |(area, _)| area)
    }

    /// The effect of a call that was sent and whose reply never came.
    pub fn unanswered(&self) -> Effect {
        if self.changes { Effect::Unknown } else { Effect::NotApplied }
    }

    pub(super) fn set(options: &SetOptions) -> Self {
        Self { idempotent: sets_again(options), ..Self::CACHE_SET }
    }

    pub(super) fn set_many(entries: &[SetEntry]) -> Self {
        let idempotent = entries.iter().all(|entry| sets_again(&entry.options));
        Self { idempotent, ..Self::CACHE_SET_MANY }
    }
}

/// Whether a second set with these options does as the first did.
fn sets_again(options: &SetOptions) -> bool {
    options.when == When::Always && options.schema == 0
}

/// Hands every operation to a macro: its constant, its name, its kind.
macro_rules! for_each_operation {
    ($then:ident) => {
        $then! {
            CACHE_GET "cache.get" read,
            CACHE_GET_MANY "cache.get_many" read,
            CACHE_GET_MANY_WITH_TTL "cache.get_many_with_ttl" read,
            CACHE_SET "cache.set" once,
            CACHE_SET_MANY "cache.set_many" once,
            CACHE_REMOVE_MANY "cache.remove_many" once,
            CACHE_TOUCH "cache.touch" repeatable,
            CACHE_TTL "cache.ttl" read,
            CACHE_FETCH "cache.fetch" repeatable,
            CACHE_FILL "cache.fill" once,
            CACHE_RELEASE "cache.release" repeatable,
            CACHE_GENERATIONS "cache.generations" repeatable,
            CACHE_BUMP "cache.bump" repeatable,
            CACHE_ADD "cache.add" once,
            SESSION_CREATE "session.create" once,
            SESSION_LOAD "session.load" read,
            SESSION_USE "session.use" repeatable,
            SESSION_PATCH "session.patch" once,
            SESSION_TOUCH "session.touch" repeatable,
            SESSION_ROTATE "session.rotate" once,
            SESSION_DESTROY "session.destroy" once,
            SESSION_LIST "session.list" read,
            SESSION_DESTROY_ALL "session.destroy_all" once,
            SESSION_LEAD "session.lead" repeatable,
            SESSION_REAP "session.reap" once,
            SESSION_READ_OUTBOX "session.read_outbox" repeatable,
            SESSION_ACKNOWLEDGE "session.acknowledge" repeatable,
            EVENT_PUBLISH "event.publish" once,
            EVENT_SUBSCRIBE "event.subscribe" read,
            LOCK_ACQUIRE "lock.acquire" repeatable,
            LOCK_RENEW "lock.renew" repeatable,
            LOCK_RELEASE "lock.release" once,
            LOCK_INSPECT "lock.inspect" read,
            LIMIT_CHECK "limit.check" once,
            LIMIT_TAKE_UP_TO "limit.take_up_to" once,
            LIMIT_PEEK "limit.peek" read,
            LIMIT_REFUND "limit.refund" once,
            LIMIT_ADD "limit.add" once,
            LIMIT_RESET "limit.reset" once,
            LIMIT_LEASE "limit.lease" repeatable,
            LIMIT_GIVE_BACK "limit.give_back" once,
            LIMIT_ATTEMPT "limit.attempt" once,
            LIMIT_SETTLE "limit.settle" once,
            TOKEN_REVOKE "token.revoke" repeatable,
            TOKEN_REVOKE_ALL "token.revoke_all" repeatable,
            TOKEN_EPOCHS "token.epochs" read,
            TOKEN_CHECK "token.check" read,
            TOKEN_AGREE "token.agree" repeatable,
            TOKEN_FLOOR "token.floor" repeatable,
            TOKEN_CLAIM "token.claim" once,
            TOKEN_OPEN_FAMILY "token.open_family" once,
            TOKEN_ROTATE "token.rotate" once,
            TOKEN_END_FAMILY "token.end_family" once,
        }
    };
}
pub(super) use for_each_operation;

macro_rules! constants {
    ($($name:ident $operation:literal $kind:ident,)*) => {
        impl Call {
            $(pub(super) const $name: Self = Self::$kind($operation);)*

            /// Every operation. Of `cache.set` and `cache.set_many` the kind with a condition.
            pub const ALL: &[Self] = &[$(Self::$name),*];
        }
    };
}
for_each_operation!(constants);
