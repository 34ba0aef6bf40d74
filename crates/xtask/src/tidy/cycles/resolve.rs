//! Finds the file that declares what a path names.

use std::collections::BTreeMap;

use super::module::Module;
use crate::tidy::paths::Tree;

/// How many imports are followed one after the other at most. A longer chain of imports must be a
/// cycle of `use`.
const STEPS_MAX: usize = 16;

/// The modules of a crate, by their paths from its root.
pub(super) struct Modules(BTreeMap<Vec<String>, Module>);

/// What a path names: a module, or an item with its file.
enum Target {
    Module(Vec<String>),
    Item { file: String },
}

impl Modules {
    /// Reads all modules of a crate, following the `mod` declarations from its first file.
    pub(super) fn read(root: &str, tree: &impl Tree) -> Modules {
        let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
        let mut found = BTreeMap::new();
        let mut open = vec![(Vec::new(), Module::read(root, &tree.read(root)))];
        while let Some((path, mut module)) = open.pop() {
            let child = |name: &str| [path.as_slice(), &[name.to_owned()]].concat();
            for name in &module.files {
                let path = child(name);
                let file = format!("{folder}/{}.rs", path.join("/"));
                let module = Module::read(&file, &tree.read(&file));
                open.push((path, module));
            }
            for (name, inside) in std::mem::take(&mut module.inline) {
                open.push((child(&name), inside));
            }
            found.insert(path, module);
        }
        Modules(found)
    }

    /// Returns every module with its path.
    pub(super) fn all(&self) -> impl Iterator<Item = (&Vec<String>, &Module)> {
        self.0.iter()
    }

    /// Returns the file that declares the item that `names` stand for in the code of `module`.
    /// `None` if they name a module, or an item of another crate.
    pub(super) fn file_of(&self, module: &[String], names: &[String]) -> Option<String> {
        match self.target(module, names, STEPS_MAX)? {
            Target::Module(_) => None,
            Target::Item { file } => Some(file),
        }
    }

    fn target(&self, module: &[String], names: &[String], steps: usize) -> Option<Target> {
        let steps = steps.checked_sub(1)?;
        let (first, rest) = names.split_first()?;
        match first.as_str() {
            "crate" => self.inside(Vec::new(), rest, steps),
            "self" => self.inside(module.to_vec(), rest, steps),
            "super" => {
                let (_, parent) = module.split_last()?;
                match rest.first().map(String::as_str) {
                    Some("super") => self.target(parent, rest, steps),
                    Some(_) | None => self.inside(parent.to_vec(), rest, steps),
                }
            }
            _ => self.step(module, first, rest, steps),
        }
    }

    /// Resolves `names` inside `module`; if `names` is empty, returns the module itself.
    fn inside(&self, module: Vec<String>, names: &[String], steps: usize) -> Option<Target> {
        let Some((first, rest)) = names.split_first() else {
            return Some(Target::Module(module));
        };
        let file = &self.0.get(&module)?.file;
        // A name that is not found in the module must come from one of the module's macros, so it
        // counts as declared in the module's file.
        let unknown = || Target::Item { file: file.clone() };
        Some(
            self.step(&module, first, rest, steps)
                .unwrap_or_else(unknown),
        )
    }

    /// Resolves one name in a module, and the names after it; `None` if the module does not know
    /// the name.
    fn step(
        &self,
        module: &[String],
        name: &String,
        rest: &[String],
        steps: usize,
    ) -> Option<Target> {
        let its = self.0.get(module)?;
        let child = [module, std::slice::from_ref(name)].concat();
        // A module and a function may have the same name; only the module can be followed by more
        // names.
        if self.0.contains_key(&child) && !rest.is_empty() {
            return self.inside(child, rest, steps);
        }
        if its.items.contains(name) {
            let file = its.file.clone();
            return Some(Target::Item { file });
        }
        let imported = its.uses.iter().filter(|it| it.name == *name);
        let mut imported = imported.filter(|it| it.path != [name.clone()]);
        let followed = imported.find_map(|it| self.target(module, &it.path, steps));
        if let Some(target) = followed {
            return self.after(target, rest, steps);
        }
        if self.0.contains_key(&child) {
            return Some(Target::Module(child));
        }
        its.globs.iter().find_map(|glob| {
            let Target::Module(from) = self.target(module, glob, steps)? else {
                return None;
            };
            self.step(&from, name, rest, steps.checked_sub(1)?)
        })
    }

    fn after(&self, target: Target, rest: &[String], steps: usize) -> Option<Target> {
        match target {
            Target::Module(path) => self.inside(path, rest, steps),
            item @ Target::Item { .. } => Some(item),
        }
    }
}
