//! The floors of this crate, bottom to top: the one place to edit when a module is added or moves.

/// Modules that may import each other's floors below, and nothing above.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Floor {
    pub(crate) name: &'static str,
    /// Paths without `crate::`. A module belongs to the longest path that it begins with, so that a part of a module may
    /// lie on another floor than the rest.
    pub(crate) modules: &'static [&'static str],
    /// Whether these modules may import each other, as long as there is no cycle.
    pub(crate) among: bool,
}

/// A floor whose modules know nothing of each other.
const fn apart(name: &'static str, modules: &'static [&'static str]) -> Floor {
    Floor { name, modules, among: false }
}

/// A floor whose modules may import each other.
const fn among(name: &'static str, modules: &'static [&'static str]) -> Floor {
    Floor { name, modules, among: true }
}

/// Between the files of the backends: whether the parts of a module (`feed/listener.rs`) may import from the module's own
/// file (`feed/mod.rs`), although that one uses them. Files beside each other may never import each other.
pub(crate) const PARTS_USE_THEIR_MODULE: bool = true;

pub(crate) const FLOORS: &[Floor] = &[
    among("ground", &["contract", "error", "time"]),
    among("means", &["key", "clock", "random", "codec", "encryption"]),
    apart("environment", &["environment"]),
    apart("telemetry", &["telemetry"]),
    among(
        "contracts",
        &[
            "cache::store",
            "changes",
            "event::bus",
            "event::capability",
            "event::envelope",
            "event::subscription",
            "limit::attempt",
            "limit::calendar",
            "limit::capability",
            "limit::decision",
            "limit::failures",
            "limit::gcra",
            "limit::lease",
            "limit::moment",
            "limit::quota",
            "limit::store",
            "limit::stored",
            "limit::tier",
            "limit::usage",
            "limit::working",
            "lock::capability",
            "lock::lease",
            "lock::locker",
            "session::capability",
            "session::debug",
            "session::device",
            "session::id",
            "session::limit",
            "session::new",
            "session::outbox",
            "session::patch",
            "session::record",
            "session::rotation",
            "session::sealed",
            "session::store",
            "session::timeouts",
            "token::capability",
            "token::family",
            "token::first_use",
            "token::names",
            "token::scope",
            "token::settings",
            "token::store",
            "token::verdict",
        ],
    ),
    apart("layers", &["layer"]),
    // A call of the cache goes from its façade down these stairs, and its value up again.
    among("cache: basics", &["cache::keyspace", "cache::policy", "cache::stats", "cache::wire"]),
    apart("cache: near", &["cache::near"]),
    apart("copies of what other stores answer", &["copies"]),
    apart("cache: read", &["cache::read"]),
    apart("cache: load", &["cache::load"]),
    apart("façades by themselves", &["event", "limit", "lock"]),
    apart("tokens, which publish", &["token"]),
    apart("façades that use them", &["attempts", "cache", "session"]),
    apart("bundle", &["stores"]),
    apart("roof", &["guide", "prelude"]),
];
