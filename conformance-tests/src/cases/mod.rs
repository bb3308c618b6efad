//! The rules and their cases, one file for each area.

pub mod cache;
pub mod event;
pub mod fault;
pub mod limit;
pub mod lock;
pub mod session;
pub mod stores;
pub mod token;

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

/// Rules with their cases: `"ID" LEVEL "text" => ["group::name": function, …];`.
macro_rules! rules {
    ($($id:literal $level:ident $text:literal => [$($name:literal: $run:path),+ $(,)?];)+) => {
        /// The rules of this area.
        pub const RULES: &[crate::Rule] = &[$(crate::Rule {
            id: $id,
            level: crate::Level::$level,
            text: $text,
            cases: &[$(crate::Case { name: $name, run: |context| Box::pin($run(context)) }),+],
        }),+];
    };
}
use rules;
