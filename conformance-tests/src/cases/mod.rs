//! The rules and their cases, one file for each area.

pub mod cache;
pub mod event;
pub mod fault;
pub mod limit;
pub mod lock;
mod process;
pub mod session;
pub mod stores;
pub mod token;
mod wall_clock;

use crate::{Area, Rule};

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
