//! What is claimed of a wrong backend, and whether it is so.

use std::collections::BTreeSet;
use std::sync::Arc;

use libtest_mimic::Failed;
use stanchion_conformance::{Case, Failure, Rule, cases, run_case};

use crate::backend::{Bug, Wrong};
use crate::fault::Faulty;
use crate::file::FileStore;
use crate::lock_file::LockFile;

/// A wrong backend, the rule that it breaks, and how the suite says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Proof {
    pub(crate) rule: &'static str,
    /// The case that fails.
    pub(crate) case: &'static str,
    bug: Bug,
    /// A part of the failure's message.
    message: &'static str,
    /// Rules of the same area that can't be kept with this bug.
    also: &'static [&'static str],
    /// Tells proofs of one rule by one bug apart.
    part: &'static str,
}

/// With this bug, the case of the rule fails, and its message has this part.
pub(crate) const fn must_fail(
    rule: &'static str,
    bug: Bug,
    case: &'static str,
    message: &'static str,
) -> Proof {
    Proof { rule, case, bug, message, also: &[], part: "" }
}

impl Proof {
    /// With other rules of the area that can't be kept with this bug.
    pub(crate) const fn also(mut self, rules: &'static [&'static str]) -> Self {
        self.also = rules;
        self
    }

    /// For another case of the same rule by the same bug.
    pub(crate) const fn part(mut self, part: &'static str) -> Self {
        self.part = part;
        self
    }

    /// `cache_07_first_of_a_batch_holds`.
    pub(crate) fn name(&self) -> String {
        let bug = format!("{:?}", self.bug);
        let bug = bug.rsplit('(').next().unwrap_or_default().trim_end_matches(')');
        let mut name = self.rule.to_lowercase().replace('-', "_");
        for c in bug.chars() {
            if c.is_uppercase() {
                name.push('_');
            }
            name.extend(c.to_lowercase());
        }
        if !self.part.is_empty() {
            name.push('_');
            name.push_str(self.part);
        }
        name
    }

    /// Whether it needs other processes, and with them sockets and real time.
    pub(crate) fn has_processes(&self) -> bool {
        matches!(self.bug, Bug::LeaseEndsWithTheProcess | Bug::File(_))
    }

    /// Whether the right backend behind the bug passes this case: the file store has what cases with processes ask for.
    fn can_pass(&self, case: &Case) -> bool {
        !matches!(self.bug, Bug::File(_)) || case.name.starts_with("process::")
    }

    /// The case fails as claimed; of the area's other rules those fail that are named, and no others.
    pub(crate) async fn check(&self) -> Result<(), Failed> {
        let (rules, case) = self.find()?;
        match run(self.bug, case).await {
            Err(failure @ Failure::Failed { .. }) => {
                let message = failure.to_string();
                if !message.contains(self.message) {
                    return Err(
                        format!("the failure should say {:?}, it says\n{message}", self.message).into()
                    );
                }
            }
            other => return Err(format!("{} should fail, it gave {other:?}", self.case).into()),
        }
        let mut broken = BTreeSet::new();
        let mut why = Vec::new();
        for rule in rules.iter().filter(|rule| rule.id != self.rule) {
            for case in rule.cases.iter().filter(|case| self.can_pass(case)) {
                let outcome = run(self.bug, case).await;
                if let Err(failure @ (Failure::Failed { .. } | Failure::Broken(_))) = outcome {
                    broken.insert(rule.id);
                    why.push(format!("\n{} {}:\n{failure}", rule.id, case.name));
                }
            }
        }
        let claimed: BTreeSet<_> = self.also.iter().copied().collect();
        if broken == claimed {
            return Ok(());
        }
        Err(format!(
            "besides {} it should break {claimed:?}, it breaks {broken:?}{}",
            self.rule,
            why.concat()
        )
        .into())
    }

    /// The rules of the area, and the case.
    fn find(&self) -> Result<(&'static [Rule], &'static Case), Failed> {
        for (_, rules) in cases::ALL {
            if let Some(rule) = rules.iter().find(|rule| rule.id == self.rule) {
                let case = rule.cases.iter().find(|case| case.name == self.case);
                return Ok((rules, case.ok_or(format!("{} has no case {}", self.rule, self.case))?));
            }
        }
        Err(format!("there is no rule {}", self.rule).into())
    }
}

async fn run(bug: Bug, case: &Case) -> Result<(), Failure> {
    match bug {
        Bug::LeaseEndsWithTheProcess => run_case(Arc::new(LockFile::new()), case).await,
        Bug::File(bug) => run_case(Arc::new(FileStore::new(Some(bug))), case).await,
        Bug::Fault(bug) => run_case(Arc::new(Faulty::new(Some(bug))), case).await,
        bug => run_case(Arc::new(Wrong::new(bug)), case).await,
    }
}
