//! The floors of this crate: no import runs up, and no two modules import each other. What `cargo tree` is between packages,
//! this is inside of them. The list is in `floors/list.rs`.

#![expect(clippy::unwrap_used, reason = "these are tests")]

mod check;
mod imports;
mod list;
mod made_up;
mod paths;
mod source;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use imports::{Import, imports};
use list::{FLOORS, PARTS_USE_THEIR_MODULE};
use source::{Module, Scope};

fn package(folder: &Path) -> (BTreeMap<Module, Scope>, Vec<Import>) {
    let scopes = source::read(&|file| std::fs::read_to_string(folder.join(file)).ok()).unwrap();
    let found = imports(&scopes);
    assert!(found.len() > scopes.len() / 2, "{}: hardly an import was found", folder.display());
    (scopes, found)
}

fn core() -> (BTreeMap<Module, Scope>, Vec<Import>) {
    package(Path::new(env!("CARGO_MANIFEST_DIR")))
}

#[track_caller]
fn none(wrong: &[String]) {
    assert!(wrong.is_empty(), "{} found:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn every_module_has_a_floor() {
    let (scopes, _) = core();
    none(&check::unlisted(FLOORS, scopes.keys()));
}

#[test]
fn no_import_runs_up() {
    none(&check::upward(FLOORS, &core().1));
}

#[test]
fn no_two_modules_import_each_other() {
    none(&check::circles_of_entries(FLOORS, &core().1));
}

/// Beside this crate in the repository; an archive of this crate alone has none.
#[test]
fn no_two_files_of_a_backend_import_each_other() {
    let mut wrong = Vec::new();
    for name in ["backend-memory", "backend-redis"] {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
        if folder.exists() {
            let (scopes, imports) = package(&folder);
            let file_of = |module: &Module| Some(format!("{name}/{}", scopes.get(module)?.file.display()));
            wrong.extend(check::circles_of_files(&imports, PARTS_USE_THEIR_MODULE, file_of));
        }
    }
    none(&wrong);
}
