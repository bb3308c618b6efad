//! The rules and their cases, one file for each area.

mod agreed;
pub mod cache;
mod change_feed;
mod ends;
pub mod event;
pub mod fault;
pub mod limit;
pub mod lock;
mod process;
mod revocation_feed;
pub mod session;
mod single_use;
pub mod stores;
pub mod token;
mod wall_clock;

use crate::{Area, Case, Harness, Rule, part};

/// Every rule, by area.
pub const ALL: &[(Area, &[Rule])] = &[
    (Area::Cache, cache::RULES),
    (Area::Session, session::RULES),
    (Area::Event, event::RULES),
    (Area::Lock, lock::RULES),
    (Area::Limit, limit::RULES),
    (Area::Token, token::RULES),
    (Area::Stores, stores::RULES),
    (Area::Fault, fault::RULES),
];

/// The cases that mean something on a backend, by what its harness [offers](Harness::offers): for a test binary with a `main`
/// of its own. Those of areas and of [parts](crate::Part) that it does not offer are left out; what it owes for them is
/// [`run_refused`](crate::run_refused) and [`run_without`](crate::run_without).
pub fn offered(harness: &dyn Harness) -> Vec<(Area, &'static Rule, &'static Case)> {
    let offers = harness.offers();
    let has = |area, case: &Case| {
        offers.has(area) && (area != Area::Cache || part::is_offered(offers.cache_parts, case.name))
    };
    let cases = |area, rule: &'static Rule| rule.cases.iter().map(move |case| (area, rule, case));
    let all = ALL.iter().flat_map(|(area, rules)| rules.iter().flat_map(move |rule| cases(*area, rule)));
    all.filter(|(area, _, case)| has(*area, case)).collect()
}

/// Rules with their cases: `"ID" LEVEL "text" => ["group::name": function, …];`, and `since 2` behind the text of one
/// that the first version of the contract did not have.
macro_rules! rules {
    ($($id:literal $level:ident $text:literal $(since $since:literal)? => [$($name:literal: $run:path),+ $(,)?];)+) => {
        /// The rules of this area.
        pub const RULES: &[crate::Rule] = &[$(crate::Rule {
            id: $id,
            since: crate::cases::since!($($since)?),
            level: crate::Level::$level,
            text: $text,
            cases: &[$(crate::Case { name: $name, run: |context| Box::pin($run(context)) }),+],
        }),+];
    };
}
pub(crate) use rules;

/// The version of the contract that brought a rule: the first one, unless another is named.
macro_rules! since {
    () => {
        stanchion::contract::Contract::V1
    };
    ($since:literal) => {
        stanchion::contract::Contract::new($since)
    };
}
pub(crate) use since;
