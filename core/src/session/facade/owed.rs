//! What is still to be revoked.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::time::Monotonic;
use crate::token::Scope;

/// How many may wait. With more, the error of the call that ended the sessions is all that is left of them.
const AT_MOST: usize = 10_000;

/// The scopes whose tokens a process has still to revoke, since the sessions have ended already.
#[derive(Default)]
pub(super) struct Owed(Mutex<List>);

#[derive(Default)]
struct List {
    scopes: BTreeMap<Scope, Debt>,
    /// Of the next debt.
    number: u64,
    /// Whether there is a task that will look again. It says that it won't in the same step in which it finds nothing.
    is_worked_on: bool,
}

struct Debt {
    user: String,
    number: u64,
    /// When the last token that is to be revoked has expired.
    until: Monotonic,
}

impl Owed {
    fn list(&self) -> MutexGuard<'_, List> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds scopes; `None` if they are too many. Whether a task is to be started.
    pub(super) fn add(&self, user: &str, scopes: &[Scope], until: Monotonic) -> Option<bool> {
        let mut list = self.list();
        if list.scopes.len().saturating_add(scopes.len()) > AT_MOST {
            return None;
        }
        for scope in scopes {
            list.number += 1;
            let debt = Debt { user: user.to_owned(), number: list.number, until };
            list.scopes.insert(scope.clone(), debt);
        }
        Some(!std::mem::replace(&mut list.is_worked_on, true))
    }

    /// No task will look again.
    pub(super) fn stopped(&self) {
        self.list().is_worked_on = false;
    }

    /// What is to be revoked now. Nothing: then the task ends.
    pub(super) fn due(&self, now: Monotonic) -> Option<Vec<Scope>> {
        let mut list = self.list();
        list.scopes.retain(|_, debt| debt.until > now);
        list.is_worked_on = !list.scopes.is_empty();
        list.is_worked_on.then(|| list.scopes.keys().cloned().collect())
    }

    /// The last debt so far: take it before what is owed is revoked.
    pub(super) fn last(&self) -> u64 {
        self.list().number
    }

    /// These were revoked, after the debt of this number: what was added while that was going on is still owed.
    pub(super) fn paid(&self, last: u64, is_revoked: impl Fn(&Scope) -> bool) {
        self.list().scopes.retain(|scope, debt| debt.number > last || !is_revoked(scope));
    }

    pub(super) fn of(&self, user: &str) -> Vec<Scope> {
        let list = self.list();
        list.scopes.iter().filter(|(_, debt)| debt.user == user).map(|(scope, _)| scope.clone()).collect()
    }

    pub(super) fn user_of(&self, scope: &Scope) -> Option<String> {
        self.list().scopes.get(scope).map(|debt| debt.user.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(seconds: u64) -> Monotonic {
        Monotonic::from_origin(Duration::from_secs(seconds))
    }

    fn session(id: &str) -> Scope {
        Scope::Session(id.to_owned())
    }

    #[test]
    fn one_task_works_until_nothing_is_owed() {
        let owed = Owed::default();
        assert_eq!(owed.add("u1", &[session("a")], at(10)), Some(true));
        assert_eq!(owed.add("u2", &[session("b")], at(20)), Some(false), "there is a task");
        assert_eq!(owed.of("u1"), [session("a")]);
        assert_eq!(owed.user_of(&session("b")).as_deref(), Some("u2"));
        assert_eq!(owed.due(at(10)), Some(vec![session("b")]), "the tokens of the first have expired");
        let last = owed.last();
        assert_eq!(owed.add("u2", &[session("b")], at(20)), Some(false));
        owed.paid(last, |_| true);
        assert_eq!(owed.of("u2"), [session("b")], "added while it was revoked");
        owed.paid(owed.last(), |scope| *scope == session("b"));
        assert_eq!(owed.due(at(11)), None);
        assert_eq!(owed.add("u1", &[session("a")], at(30)), Some(true), "the task has ended");
    }

    #[test]
    fn it_is_bounded() {
        let owed = Owed::default();
        let many: Vec<_> = (0..AT_MOST).map(|n| session(&n.to_string())).collect();
        assert_eq!(owed.add("u1", &many, at(10)), Some(true));
        assert_eq!(owed.add("u1", &[session("more")], at(10)), None);
        assert_eq!(owed.user_of(&session("more")), None);
    }
}
