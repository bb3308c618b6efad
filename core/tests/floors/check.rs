//! What must not be: imports that run up, and modules that import each other.

use std::collections::{BTreeMap, BTreeSet};

use super::imports::Import;
use super::list::Floor;
use super::source::Module;

/// Where a module belongs: the number of its floor, and the entry of the list.
fn place(floors: &'static [Floor], module: &Module) -> Option<(usize, &'static str)> {
    let path = module.join("::");
    let entries = floors
        .iter()
        .enumerate()
        .flat_map(|(number, floor)| floor.modules.iter().map(move |entry| (number, *entry)));
    entries
        .filter(|(_, entry)| {
            path.strip_prefix(entry).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
        })
        .max_by_key(|(_, entry)| entry.len())
}

/// Every import that runs up, or between modules of a floor that are apart.
pub(crate) fn upward(floors: &'static [Floor], imports: &[Import]) -> Vec<String> {
    let mut wrong = Vec::new();
    for import in imports {
        // The crate itself names its modules, and defines nothing.
        if import.from.is_empty() || import.to.is_empty() {
            continue;
        }
        let (Some((from, entry)), Some((to, target))) =
            (place(floors, &import.from), place(floors, &import.to))
        else {
            continue; // Is reported by `unlisted`.
        };
        if from < to || (from == to && entry != target && !floors[from].among) {
            wrong.push(format!(
                "{}:{}: {} (floor {from}, {}) imports {} (floor {to}, {})",
                import.file.display(),
                import.line,
                import.from.join("::"),
                floors[from].name,
                import.to.join("::"),
                floors[to].name,
            ));
        }
    }
    wrong
}

/// Modules on no floor, and entries of the list that are no module.
pub(crate) fn unlisted<'a>(
    floors: &'static [Floor],
    modules: impl Iterator<Item = &'a Module>,
) -> Vec<String> {
    let modules: BTreeSet<_> = modules.filter(|module| !module.is_empty()).collect();
    let homeless = modules
        .iter()
        .filter(|module| place(floors, module).is_none())
        .map(|module| format!("{} is on no floor", module.join("::")));
    let paths: BTreeSet<_> = modules.iter().map(|module| module.join("::")).collect();
    let empty = floors
        .iter()
        .flat_map(|floor| floor.modules)
        .filter(|entry| !paths.contains(**entry))
        .map(|entry| format!("{entry} is on a floor, and no module"));
    homeless.chain(empty).collect()
}

/// Entries of the list that import each other, directly or in a circle.
pub(crate) fn circles_of_entries(floors: &'static [Floor], imports: &[Import]) -> Vec<String> {
    circles(imports.iter().filter_map(|import| {
        let (from, to) = (place(floors, &import.from)?.1, place(floors, &import.to)?.1);
        Some((from.to_owned(), to.to_owned(), import))
    }))
}

/// Files that import each other, directly or in a circle. `lib.rs` is left out: it names its modules, and everything may
/// use what it names. If `parts_use_their_module`, the parts of a module may import from its own file, which names them.
pub(crate) fn circles_of_files(
    imports: &[Import],
    parts_use_their_module: bool,
    file_of: impl Fn(&Module) -> Option<String>,
) -> Vec<String> {
    let counts = |import: &&Import| {
        let by_lib = import.from.is_empty() || import.to.is_empty();
        let of_its_module = parts_use_their_module && import.from.starts_with(&import.to);
        !by_lib && !of_its_module
    };
    circles(
        imports
            .iter()
            .filter(counts)
            .filter_map(|import| Some((file_of(&import.from)?, file_of(&import.to)?, import))),
    )
}

/// One message for each set of nodes that all lead to each other, with the imports that lie within it.
fn circles<'a>(edges: impl Iterator<Item = (String, String, &'a Import)>) -> Vec<String> {
    let mut to: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut lines = BTreeMap::new();
    for (from, target, import) in edges.filter(|(from, target, _)| from != target) {
        lines
            .entry((from.clone(), target.clone()))
            .or_insert_with(|| format!("{}:{}", import.file.display(), import.line));
        to.entry(from).or_default().insert(target);
    }
    let reach: BTreeMap<_, _> = to.keys().map(|node| (node.clone(), reachable(&to, node))).collect();
    let leads = |from: &str, target: &str| reach.get(from).is_some_and(|all| all.contains(target));
    let mut sets: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
    for node in to.keys().filter(|node| leads(node, node)) {
        sets.insert(
            to.keys().map(String::as_str).filter(|other| leads(node, other) && leads(other, node)).collect(),
        );
    }
    let message = |set: BTreeSet<&str>| {
        let within = lines
            .iter()
            .filter(|((from, target), _)| set.contains(from.as_str()) && set.contains(target.as_str()))
            .map(|((from, target), line)| format!("\n    {from} imports {target} ({line})"));
        format!("in a circle:{}", within.collect::<String>())
    };
    sets.into_iter().map(message).collect()
}

fn reachable(to: &BTreeMap<String, BTreeSet<String>>, from: &str) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(node) = open.pop() {
        for next in to.get(node).into_iter().flatten() {
            if seen.insert(next.clone()) {
                open.push(next);
            }
        }
    }
    seen
}
