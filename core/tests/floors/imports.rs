//! From what the source says to who needs whom.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::source::{Module, Scope};

/// A module needs something that another one defines.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Import {
    pub(crate) from: Module,
    pub(crate) to: Module,
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
}

/// Every import between two modules. A name that a module only hands on counts for the module that defines it: `crate::Error`
/// is an import of `error`.
pub(crate) fn imports(scopes: &BTreeMap<Module, Scope>) -> Vec<Import> {
    let mut found = BTreeSet::new();
    for (from, scope) in scopes {
        for mention in &scope.mentions {
            let Some(to) = resolve(scopes, from, &mention.path) else { continue };
            let own_part = to.starts_with(from);
            if to == *from || (mention.hands_out && own_part) {
                continue;
            }
            found.insert(Import { from: from.clone(), to, file: scope.file.clone(), line: mention.line });
        }
    }
    found.into_iter().collect()
}

/// The module that defines what the path names, if it is one of this crate.
fn resolve(scopes: &BTreeMap<Module, Scope>, from: &Module, path: &[String]) -> Option<Module> {
    let (mut at, mut rest) = (from.clone(), path.to_vec());
    // Whether the next name begins a path: then it may be that of another crate.
    let mut begins = true;
    // Bounded, since `use` may go round in circles.
    for _ in 0..64 {
        let Some(name) = rest.first().cloned() else { return Some(at) };
        let scope = scopes.get(&at)?;
        match name.as_str() {
            "crate" => at.clear(),
            "self" => {}
            "super" => drop(at.pop()?),
            _ if scope.children.contains(&name) => at.push(name),
            _ if scope.defines.contains(&name) => return Some(at),
            _ => {
                if let Some(target) = scope.renames.get(&name) {
                    rest = target.iter().cloned().chain(rest.into_iter().skip(1)).collect();
                    begins = true;
                    continue;
                }
                match scope.globs.iter().find_map(|glob| glob_with(scopes, &at, glob, &name)) {
                    Some(module) => at = module,
                    None if begins => return None,
                    // Made by a macro, most likely.
                    None => return Some(at),
                }
                begins = false;
                continue;
            }
        }
        rest.remove(0);
        begins = false;
    }
    None
}

/// The module of `use {glob}::*`, if it has this name.
fn glob_with(scopes: &BTreeMap<Module, Scope>, at: &Module, glob: &[String], name: &str) -> Option<Module> {
    let module = resolve(scopes, at, glob).filter(|module| module != at)?;
    let inside = scopes.get(&module)?;
    (inside.defines.contains(name) || inside.renames.contains_key(name)).then_some(module)
}
