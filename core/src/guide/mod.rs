//! The guide: one page per area, with programs that can be copied as they stand.
//!
//! [Getting started]: crate::guide::getting_started
//! [Caching]: crate::guide::cache
//! [Sessions and tokens]: crate::guide::sessions
//! [Tokens]: crate::guide::tokens
//! [Events]: crate::guide::events
//! [Locks]: crate::guide::coordination
//! [Limits]: crate::guide::limits
//! [Standards of sessions and limits]: crate::guide::standards_sessions
//! [HTTP]: crate::guide::http
//! [Errors and bounds]: crate::guide::errors
//! [Deploying on Redis]: crate::guide::redis
//! [When a server fails]: crate::guide::failures
//! [Writing a backend]: crate::guide::backend
//! [Observability]: crate::telemetry
//! [Wire format]: crate::guide::wire_format
//! [Standards]: crate::guide::standards
//! [Glossary]: crate::guide::glossary
#![doc = ""]
#![doc = include_str!("../../docs/guide/README.md")]

/// A page, from its file. The pages name each other by labels, which their last lines define as files, for who reads
/// the files. Here the labels are defined before the text, as modules, and the first definition of a label holds.
macro_rules! page {
    ($name:ident, $file:literal) => {
        #[doc = "[Caching]: crate::guide::cache"]
        #[doc = "[Deploying on Redis]: crate::guide::redis"]
        #[doc = "[Errors and bounds]: crate::guide::errors"]
        #[doc = "[Observability]: crate::telemetry"]
        #[doc = "[Standards]: crate::guide::standards"]
        #[doc = "[Sessions and tokens]: crate::guide::sessions"]
        #[doc = "[Tokens]: crate::guide::tokens"]
        #[doc = "[Wire format]: crate::guide::wire_format"]
        #[doc = ""]
        #[doc = include_str!(concat!("../../docs/", $file))]
        pub mod $name {}
    };
}

page!(getting_started, "guide/getting-started.md");
page!(cache, "guide/cache.md");
page!(sessions, "guide/sessions.md");
page!(tokens, "guide/tokens.md");
page!(events, "guide/events.md");
page!(coordination, "guide/coordination.md");
page!(limits, "guide/limits.md");
page!(standards_sessions, "standards-sessions.md");
page!(http, "guide/http.md");
page!(errors, "guide/errors.md");
page!(redis, "guide/redis.md");
page!(failures, "guide/failures.md");
page!(backend, "guide/backend.md");
page!(wire_format, "wire-format.md");
page!(standards, "standards.md");
page!(glossary, "glossary.md");
