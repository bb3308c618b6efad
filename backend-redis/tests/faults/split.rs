//! Entry and lease of a cached value are split between two nodes, while their slot is being moved.

use stanchion::cache::AllParts as _;
use stanchion::cache::{SetOptions, SetOutcome};
use stanchion::{Effect, ErrorKind};
use stanchion_conformance::servers::Scripted;

use crate::operations::value;
use crate::support::{config, connect, entry, facts, failed, hour, key};

const SPLIT: &[u8] = b"-TRYAGAIN Multiple keys request during rehashing of slot\r\n";
const UNKNOWN: &[u8] = b"-NOSCRIPT No matching script. Please use EVAL.\r\n";

/// A server that has never got both keys of a script.
async fn server() -> Scripted {
    let server = Scripted::answering(b":1\r\n").await.unwrap();
    server.answer(":lease", SPLIT);
    server.answer("UNLINK {", b":1\r\n");
    server
}

pub(crate) async fn the_lease_is_voided_first_and_then_the_entry_changed() {
    let server = server().await;
    let cache = connect(config(&server.url())).await.cache_store().unwrap();
    let counts = || ["EVALSHA", "EVAL ", "UNLINK {"].map(|text| server.requests(text));
    let before = counts();
    let since = || -> Vec<_> { counts().into_iter().zip(before).map(|(now, then)| now - then).collect() };
    assert_eq!(cache.set(&key("a"), value(), &SetOptions::new(hour())).await.unwrap(), SetOutcome::Stored);
    assert_eq!(since(), [2, 0, 1]);
    assert_eq!(cache.add(&key("n"), 1, hour()).await.unwrap(), 1);
    assert_eq!(since(), [4, 0, 2]);
    let entries = ["a", "b", "c"].map(|id| entry(&key(id), value()));
    assert_eq!(cache.set_many(&entries).await.unwrap(), [SetOutcome::Stored; 3]);
    assert_eq!(since(), [10, 0, 5]);
    // Sets of one key keep their order: none goes by a hash that the server may not know.
    let entries = ["a", "a"].map(|id| entry(&key(id), value()));
    assert_eq!(cache.set_many(&entries).await.unwrap(), [SetOutcome::Stored; 2]);
    assert_eq!(since(), [10, 4, 7]);
}

/// Neither part is known by its hash at the node that gets it.
pub(crate) async fn a_script_that_is_not_known_goes_by_its_source() {
    let server = server().await;
    let cache = connect(config(&server.url())).await.cache_store().unwrap();
    server.answer("EVALSHA", UNKNOWN);
    let counts = || ["EVALSHA", "EVAL ", "UNLINK {"].map(|text| server.requests(text));
    let before = counts();
    let since = || -> Vec<_> { counts().into_iter().zip(before).map(|(now, then)| now - then).collect() };
    assert_eq!(cache.set(&key("a"), value(), &SetOptions::new(hour())).await.unwrap(), SetOutcome::Stored);
    assert_eq!(since(), [2, 2, 1], "both by hash, both by source");
    assert_eq!(cache.remove_many(&[key("a"), key("b")]).await.unwrap(), 2);
    assert_eq!(since(), [6, 6, 3]);
}

/// With the lease in place a load could still store what is older than the change.
pub(crate) async fn an_entry_whose_lease_is_not_voided_stays() {
    let server = server().await;
    let cache = connect(config(&server.url())).await.cache_store().unwrap();
    server.answer("UNLINK {", b"-READONLY You can't write against a read only replica.\r\n");
    let before = server.requests("EVALSHA");
    let error = failed(cache.set(&key("a"), value(), &SetOptions::new(hour())).await);
    assert_eq!(facts(&error), (ErrorKind::Unavailable, Effect::NotApplied), "{error}");
    assert!(error.to_string().contains("READONLY"), "{error}");
    assert_eq!(server.requests("EVALSHA") - before, 1, "the entry alone was not sent");
}
