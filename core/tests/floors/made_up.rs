//! Crates that were made up, to show what the check sees and what it lets pass.

use std::path::Path;

use super::check;
use super::imports::{Import, imports};
use super::list::Floor;
use super::source::{self, Module};

const FLOORS: &[Floor] = &[
    Floor { name: "ground", modules: &["key", "time"], among: true },
    Floor { name: "contracts", modules: &["cache::store"], among: false },
    Floor { name: "façades", modules: &["cache", "lock"], among: false },
    Floor { name: "bundle", modules: &["stores"], among: false },
];

const LIB: &str =
    "pub mod cache; pub mod key; pub mod lock; pub mod stores; pub mod time; pub use self::key::Key;";

/// The imports of a crate of these files, in which those that are not given are empty.
fn of(given: &[(&str, &str)]) -> (Vec<Import>, impl Fn(&Module) -> Option<String>) {
    let usual = [
        ("src/lib.rs", LIB),
        ("src/cache/mod.rs", "mod store; pub use self::store::Store; pub struct Cache;"),
        ("src/cache/store.rs", "pub struct Store;"),
        ("src/key.rs", "pub struct Key;"),
        ("src/lock.rs", "pub struct Locks;"),
        ("src/stores.rs", "pub struct Stores;"),
        ("src/time.rs", "pub struct Ttl;"),
    ];
    let text = |file: &Path| {
        let named = |(name, _): &&(&str, &str)| Path::new(name) == file;
        given.iter().find(named).or_else(|| usual.iter().find(named)).map(|(_, text)| (*text).to_owned())
    };
    let scopes = source::read(&text).unwrap();
    (imports(&scopes), move |module: &Module| Some(scopes.get(module)?.file.display().to_string()))
}

fn upward(given: &[(&str, &str)]) -> Vec<String> {
    check::upward(FLOORS, &of(given).0)
}

#[test]
fn an_import_that_runs_up_is_reported_with_its_place_and_both_floors() {
    let found =
        upward(&[("src/lock.rs", "use crate::key::Key;\n\nuse crate::stores::Stores;\npub struct Locks;")]);
    assert_eq!(found, ["src/lock.rs:3: lock (floor 2, façades) imports stores (floor 3, bundle)"]);
}

#[test]
fn one_that_runs_down_is_not() {
    for text in [
        "use crate::key::Key;",
        "use crate::{cache::{self, Cache}, time::Ttl as Life, Key};",
        "use crate::cache::*;",
        "fn f(_: crate::cache::Cache) -> super::time::Ttl { super::time::Ttl }",
    ] {
        assert_eq!(upward(&[("src/stores.rs", text)]), [""; 0], "{text}");
    }
}

#[test]
fn wherever_the_path_stands_it_is_seen() {
    for text in [
        "pub use crate::stores::Stores;",
        "use crate::{key::Key, stores::{Stores as All}};",
        "use super::stores;",
        "use crate::stores::*;",
        "fn f(_: &crate::stores::Stores) {}",
        "fn f() -> Vec<Option<crate::stores::Stores>> { Vec::new() }",
        "fn f() { let _ = super::stores::Stores; }",
        "fn f() { use crate::stores::Stores; }",
        "fn f() { println!(\"{:?}\", (1, crate::stores::Stores)); }",
        "macro_rules! m { () => { $crate::stores::Stores } }",
        "impl Clone for crate::stores::Stores {}",
        "trait T: crate::stores::Sealed {}",
        "struct S<T: crate::stores::Sealed>(T);",
        "mod inside { use super::super::stores::Stores; }",
        "#[cfg(feature = \"x\")] mod inside { use crate::stores::Stores; }",
        "#[cfg(not(test))] use crate::stores::Stores;",
    ] {
        assert_eq!(upward(&[("src/lock.rs", text)]).len(), 1, "{text}");
    }
}

#[test]
fn what_is_there_for_tests_only_may_import_anything() {
    for text in [
        "#[cfg(test)] mod tests { use crate::stores::Stores; }",
        "#[cfg(test)] mod tests;",
        "#[cfg(all(test, feature = \"x\"))] use crate::stores::Stores;",
        "struct S; impl S { #[cfg(test)] fn f() { crate::stores::f() } }",
    ] {
        assert_eq!(upward(&[("src/lock.rs", text)]), [""; 0], "{text}");
    }
}

#[test]
fn a_part_of_a_module_may_lie_lower_than_the_rest() {
    // What the contract hands out through the module above it is still the contract's.
    let stores = [("src/cache/store.rs", "use crate::cache::Store as Own; pub struct Store;")];
    assert_eq!(upward(&stores), [""; 0]);
    let found = upward(&[("src/cache/store.rs", "use super::Cache;\npub struct Store;")]);
    assert_eq!(
        found,
        ["src/cache/store.rs:1: cache::store (floor 1, contracts) imports cache (floor 2, façades)"]
    );
    assert_eq!(upward(&[("src/key.rs", "use crate::cache::Store;\npub struct Key;")]).len(), 1);
}

#[test]
fn names_lead_to_where_they_are_defined() {
    // By the crate's own names, and by a name that another module has only brought in.
    let by_lib = [("src/time.rs", "use crate::Key;")];
    let (found, _) = of(&by_lib);
    assert!(found.iter().any(|import| import.to == ["key"]), "{found:?}");
    let brought_in =
        [("src/lock.rs", "use crate::key::Key; pub struct Locks;"), ("src/time.rs", "use crate::lock::Key;")];
    assert_eq!(upward(&brought_in), [""; 0]);
    // A name of another crate is nobody's.
    let foreign = [("src/stores.rs", "use tokio::sync::watch; fn f() { watch::channel(()); }")];
    assert!(of(&foreign).0.iter().all(|import| import.from != ["stores"]));
}

#[test]
fn modules_of_one_floor_are_apart_unless_it_says_otherwise() {
    assert_eq!(upward(&[("src/cache/mod.rs", "mod store; use crate::lock::Locks;")]).len(), 1);
    assert_eq!(upward(&[("src/key.rs", "use crate::time::Ttl; pub struct Key;")]), [""; 0]);
}

#[test]
fn two_modules_that_import_each_other_are_reported() {
    let both = [
        ("src/key.rs", "use crate::time::Ttl;\npub struct Key;"),
        ("src/time.rs", "use crate::Key;\npub struct Ttl;"),
    ];
    let found = check::circles_of_entries(FLOORS, &of(&both).0);
    assert_eq!(
        found,
        ["in a circle:\n    key imports time (src/key.rs:1)\n    time imports key (src/time.rs:1)"]
    );
    assert_eq!(check::circles_of_entries(FLOORS, &of(&both[..1]).0), [""; 0]);
}

#[test]
fn two_files_that_import_each_other_are_reported() {
    let files_if = |parts_use_their_module: bool, given: &[(&str, &str)]| {
        let (imports, file_of) = of(given);
        check::circles_of_files(&imports, parts_use_their_module, file_of)
    };
    let files = |given: &[(&str, &str)]| files_if(false, given);
    assert_eq!(files(&[]), [""; 0], "handing out is no need");
    let parent = ("src/cache/mod.rs", "mod store; pub struct Cache(self::store::Store);");
    let child = ("src/cache/store.rs", "use super::Cache; pub struct Store;");
    assert_eq!(files(&[parent]), [""; 0]);
    assert_eq!(files(&[parent, child]).len(), 1);
    assert_eq!(files_if(true, &[parent, child]), [""; 0]);
    // Three in a row are found as well.
    let row = [
        ("src/key.rs", "use crate::time::Ttl; pub struct Key;"),
        ("src/time.rs", "use crate::lock::Locks; pub struct Ttl;"),
        ("src/lock.rs", "use crate::key::Key; pub struct Locks;"),
    ];
    let found = files(&row);
    assert!(
        found.len() == 1 && ["key.rs", "time.rs", "lock.rs"].iter().all(|file| found[0].contains(file)),
        "{found:?}"
    );
}

#[test]
fn a_module_on_no_floor_and_a_floor_without_its_module_are_reported() {
    let modules: Vec<Module> = [vec![], vec!["key"], vec!["cache", "store"], vec!["attic"]]
        .into_iter()
        .map(|path: Vec<&str>| path.into_iter().map(str::to_owned).collect())
        .collect();
    let found = check::unlisted(FLOORS, modules.iter());
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(found[0], "attic is on no floor");
    assert!(found[1..].iter().all(|message| message.ends_with("is on a floor, and no module")));
}
