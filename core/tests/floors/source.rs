//! What a crate's source says: its modules, what each defines and renames, and every path that names something of the crate.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use syn::spanned::Spanned;
use syn::visit::Visit;

use super::paths::{Paths, attributes, for_tests};

/// A module's path without `crate`; the crate itself is empty.
pub(crate) type Module = Vec<String>;

/// Where source comes from: a folder, or what a test made up.
pub(crate) type Files<'a> = dyn Fn(&Path) -> Option<String> + 'a;

/// A path in the source, as it is written: `["super", "store", "Key"]`.
#[derive(Debug, Clone)]
pub(crate) struct Mention {
    pub(crate) path: Vec<String>,
    pub(crate) line: usize,
    /// A `use` that only gives names of modules inside to those outside: no need of its own.
    pub(crate) hands_out: bool,
}

/// One module.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    pub(crate) file: PathBuf,
    pub(crate) children: BTreeSet<String>,
    pub(crate) defines: BTreeSet<String>,
    /// Names that `use` brings in, and what they stand for.
    pub(crate) renames: BTreeMap<String, Vec<String>>,
    /// Modules whose names `use …::*` brings in.
    pub(crate) globs: Vec<Vec<String>>,
    pub(crate) mentions: Vec<Mention>,
}

/// All modules that `src/lib.rs` leads to, but those for tests.
pub(crate) fn read(files: &Files<'_>) -> Result<BTreeMap<Module, Scope>, String> {
    let mut reader = Reader { files, scopes: BTreeMap::new() };
    reader.file(Vec::new(), Path::new("src/lib.rs"), Path::new("src"))?;
    Ok(reader.scopes)
}

struct Reader<'a> {
    files: &'a Files<'a>,
    scopes: BTreeMap<Module, Scope>,
}

impl Reader<'_> {
    /// `inside` is the folder of the modules that it declares.
    fn file(&mut self, module: Module, file: &Path, inside: &Path) -> Result<(), String> {
        let text = (self.files)(file).ok_or_else(|| format!("{} is missing", file.display()))?;
        let parsed = syn::parse_file(&text).map_err(|error| format!("{}: {error}", file.display()))?;
        self.items(module, file, inside, &parsed.items)
    }

    fn items(
        &mut self,
        module: Module,
        file: &Path,
        inside: &Path,
        items: &[syn::Item],
    ) -> Result<(), String> {
        let mut scope = Scope { file: file.to_owned(), ..Scope::default() };
        for item in items {
            if for_tests(attributes(item)) {
                continue;
            }
            if let Some(name) = name(item) {
                scope.defines.insert(name);
            }
            match item {
                syn::Item::Use(item) => {
                    let hands_out = !matches!(item.vis, syn::Visibility::Inherited);
                    scope.import(&item.tree, &mut Vec::new(), hands_out);
                }
                syn::Item::Mod(item) => {
                    let name = item.ident.to_string();
                    scope.children.insert(name.clone());
                    let child: Module = module.iter().cloned().chain([name.clone()]).collect();
                    if let Some((_, items)) = &item.content {
                        self.items(child, file, &inside.join(&name), items)?;
                        continue;
                    }
                    let (flat, folder) = (inside.join(format!("{name}.rs")), inside.join(&name));
                    let nested = folder.join("mod.rs");
                    let found = if (self.files)(&flat).is_some() { flat } else { nested };
                    self.file(child, &found, &folder)?;
                }
                _ => Paths(&mut scope.mentions).visit_item(item),
            }
        }
        self.scopes.insert(module, scope);
        Ok(())
    }
}

impl Scope {
    pub(crate) fn import(&mut self, tree: &syn::UseTree, before: &mut Vec<String>, hands_out: bool) {
        let line = tree.span().start().line;
        match tree {
            syn::UseTree::Path(path) => {
                before.push(path.ident.to_string());
                self.import(&path.tree, before, hands_out);
                before.pop();
            }
            syn::UseTree::Group(group) => {
                for tree in &group.items {
                    self.import(tree, before, hands_out);
                }
            }
            syn::UseTree::Glob(_) => {
                self.globs.push(before.clone());
                self.mentions.push(Mention { path: before.clone(), line, hands_out });
            }
            syn::UseTree::Name(name) => {
                self.name(before, &name.ident.to_string(), None, (line, hands_out));
            }
            syn::UseTree::Rename(rename) => {
                let (name, known_as) = (rename.ident.to_string(), rename.rename.to_string());
                self.name(before, &name, Some(known_as), (line, hands_out));
            }
        }
    }

    fn name(
        &mut self,
        before: &[String],
        name: &str,
        known_as: Option<String>,
        (line, hands_out): (usize, bool),
    ) {
        let mut path = before.to_vec();
        // `use a::b::{self}` is `use a::b`.
        if name != "self" || path.is_empty() {
            path.push(name.to_owned());
        }
        if let Some(known_as) = known_as.or_else(|| path.last().cloned()) {
            self.renames.insert(known_as, path.clone());
        }
        self.mentions.push(Mention { path, line, hands_out });
    }
}

fn name(item: &syn::Item) -> Option<String> {
    Some(match item {
        syn::Item::Const(item) => item.ident.to_string(),
        syn::Item::Enum(item) => item.ident.to_string(),
        syn::Item::Fn(item) => item.sig.ident.to_string(),
        syn::Item::Static(item) => item.ident.to_string(),
        syn::Item::Struct(item) => item.ident.to_string(),
        syn::Item::Trait(item) => item.ident.to_string(),
        syn::Item::Type(item) => item.ident.to_string(),
        syn::Item::Union(item) => item.ident.to_string(),
        _ => return None,
    })
}
