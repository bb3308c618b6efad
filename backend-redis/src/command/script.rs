//! Scripts, and one description of the script calls of an operation.

use std::sync::LazyLock;

use redis::Cmd;

use super::routed::Routed;

/// A script, by its source and its hash.
pub(crate) struct Script {
    source: &'static str,
    hash: LazyLock<String>,
}

/// How a script is named to the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// `EVALSHA`: what is usually sent.
    Hash,
    /// `EVAL`: runs the script, and has the server keep it under its hash.
    Source,
}

/// The keys that a change of a cached entry is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    /// The entry, and the lease on it.
    Both,
    /// The lease alone.
    Lease,
    /// The entry alone.
    Entry,
}

/// One command of [`Scripts`]: which call it belongs to, on which keys, and in which form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Step {
    pub(crate) index: usize,
    pub(crate) part: Part,
    pub(crate) form: Form,
}

/// The script calls of one operation: how many, how the command of each is built, and what may be repeated.
///
/// A command is built when it is sent, since few are sent twice: with the script's [source](Form::Source) to a server that
/// does not know its hash, and, where entry and lease are [separable](Self::separable), once for each of the two.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scripts<B> {
    count: usize,
    separable: bool,
    answers_split: bool,
    ordered: bool,
    build: B,
}

impl<B: Fn(Step) -> Routed> Scripts<B> {
    /// One call.
    pub(crate) fn one(build: B) -> Self {
        Self::many(1, build)
    }

    /// So many calls, which are sent together.
    pub(crate) fn many(count: usize, build: B) -> Self {
        Self { count, separable: false, answers_split: false, ordered: false, build }
    }

    /// Each changes an entry and voids the lease on it, and either can be done [alone](Part).
    ///
    /// While their slot is being moved the two may be split between two nodes, and no script gets at both. Then the lease is
    /// voided first, and the entry changed after it. That is as good: a lease that is granted in between is for a load that
    /// begins after what this change follows from, and whatever was being loaded before has lost its lease.
    pub(crate) fn separable(mut self) -> Self {
        self.separable = true;
        self
    }

    /// That the keys are split between two nodes is the answer, and not retried: the caller knows another way.
    pub(crate) fn answering_split(mut self) -> Self {
        self.answers_split = true;
        self
    }

    /// Calls on the same key run in the order given. Without it one whose hash the server does not know runs last.
    pub(crate) fn in_order(mut self) -> Self {
        self.ordered = true;
        self
    }

    pub(crate) fn len(&self) -> usize {
        self.count
    }

    pub(crate) fn is_separable(&self) -> bool {
        self.separable
    }

    /// The command that is sent first.
    pub(crate) fn first(&self, index: usize) -> Routed {
        self.whole(index, if self.ordered { Form::Source } else { Form::Hash })
    }

    /// The same, for a server that does not know the script.
    pub(crate) fn first_by_source(&self, index: usize) -> Routed {
        self.whole(index, Form::Source)
    }

    fn whole(&self, index: usize, form: Form) -> Routed {
        let routed = (self.build)(Step { index, part: Part::Both, form });
        if self.separable || self.answers_split { routed.without_split_retry() } else { routed }
    }

    /// Voids the lease alone.
    pub(crate) fn lease(&self, index: usize) -> Routed {
        (self.build)(Step { index, part: Part::Lease, form: Form::Hash })
    }

    /// Changes the entry alone.
    pub(crate) fn entry(&self, index: usize) -> Routed {
        let form = if self.ordered { Form::Source } else { Form::Hash };
        (self.build)(Step { index, part: Part::Entry, form })
    }

    /// The same, for a server that does not know the script.
    pub(crate) fn entry_by_source(&self, index: usize) -> Routed {
        (self.build)(Step { index, part: Part::Entry, form: Form::Source })
    }
}

impl Script {
    pub(crate) const fn new(source: &'static str, hash: fn() -> String) -> Self {
        Self { source, hash: LazyLock::new(hash) }
    }

    pub(crate) fn source(&self) -> &'static str {
        self.source
    }

    pub(crate) fn hash(&self) -> &str {
        &self.hash
    }

    /// One call of it, with these keys and arguments.
    pub(crate) fn with<'a>(
        &'a self,
        keys: &'a [&'a str],
        args: &'a [&'a [u8]],
    ) -> Scripts<impl Fn(Step) -> Routed + 'a> {
        Scripts::one(move |step| self.routed(step.form, keys, args))
    }

    /// The command that runs it, and the slot of its first key.
    pub(crate) fn routed(&self, form: Form, keys: &[&str], args: &[&[u8]]) -> Routed {
        let command = self.command(form, keys, args);
        match keys.first() {
            Some(key) => Routed::new(key, command),
            None => Routed::anywhere(command),
        }
    }

    fn command(&self, form: Form, keys: &[&str], args: &[&[u8]]) -> Cmd {
        let (name, script) = match form {
            Form::Hash => ("EVALSHA", self.hash.as_str()),
            Form::Source => ("EVAL", self.source),
        };
        let bytes = script.len()
            + keys.iter().map(|key| key.len()).sum::<usize>()
            + args.iter().map(|arg| arg.len()).sum::<usize>();
        let mut command = Cmd::with_capacity(3 + keys.len() + args.len(), bytes + 16);
        command.arg(name).arg(script).arg(keys.len());
        for key in keys {
            command.arg(*key);
        }
        for arg in args {
            command.arg(*arg);
        }
        command
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// The steps that these build, by how they are asked for.
    fn steps(set: impl FnOnce(Scripts<&dyn Fn(Step) -> Routed>) -> Vec<Routed>) -> (Vec<Step>, Vec<bool>) {
        let seen = RefCell::new(Vec::new());
        let build = |step: Step| {
            seen.borrow_mut().push(step);
            Routed::get("key")
        };
        let routed = set(Scripts::many(3, &build));
        (seen.into_inner(), routed.iter().map(|routed| routed.route.retry_split).collect())
    }

    #[test]
    fn the_hash_goes_first_unless_the_order_matters() {
        let step = |index, form| Step { index, part: Part::Both, form };
        let (built, _) = steps(|calls| vec![calls.first(0), calls.first_by_source(1)]);
        assert_eq!(built, [step(0, Form::Hash), step(1, Form::Source)]);
        let (built, _) = steps(|calls| vec![calls.in_order().first(2)]);
        assert_eq!(built, [step(2, Form::Source)], "a repeated one would run after the others");
        let (built, _) = steps(|calls| vec![calls.in_order().entry(2)]);
        assert_eq!(built, [Step { index: 2, part: Part::Entry, form: Form::Source }]);
    }

    #[test]
    fn only_what_is_separable_is_answered_that_its_keys_are_split() {
        let (_, retried) = steps(|calls| vec![calls.first(0), calls.first_by_source(0)]);
        assert_eq!(retried, [true, true]);
        let (built, retried) = steps(|calls| {
            let calls = calls.separable();
            vec![calls.first(0), calls.first_by_source(0), calls.lease(0), calls.entry(0)]
        });
        assert_eq!(retried, [false, false, true, true], "a part alone is never split");
        assert_eq!(
            built.iter().map(|step| step.part).collect::<Vec<_>>(),
            [Part::Both, Part::Both, Part::Lease, Part::Entry]
        );
    }
}
