//! Checks that no two files of a crate need each other, directly or through other files.
//!
//! What counts: file A needs file B if code in A names an item that B declares, in a `use` or by a
//! path in the code (`crate::…`, `self::…`, `super::…`, the name of a child module, or of an
//! imported module). A re-export is followed to the file that declares the item, so `crate::Name`
//! needs the file of `Name` and not `lib.rs`.
//!
//! What does not count: `mod child;`; a `pub use` (or `pub(crate) use`) of a name that the file
//! itself does not use; a module that is named without an item in it; everything under
//! `#[cfg(test)]`, including the files of such modules; and what no path shows, such as a method of
//! a type or a path in the text of an attribute. A parent and its child may need each other in one
//! direction only: the parent may call the child, or the child may use what the parent declares. In
//! each case the parent may also declare the child and re-export its items.

mod module;
mod resolve;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::paths::Tree;
use crate::finding::Finding;

/// The first place where a file needs another file, with the name of the item that it uses there.
struct Need {
    line: usize,
    name: String,
}

/// For each file, the files that it needs.
type Needs = BTreeMap<String, BTreeMap<String, Need>>;

/// Returns every cycle of files in the crate that begins with this `lib.rs` or `main.rs`.
pub(super) fn check(root: &str, tree: &impl Tree) -> Vec<Finding> {
    let needs = needs(&resolve::Modules::read(root, tree));
    let cycles = cycles(&needs);
    cycles.iter().filter_map(|it| finding(it, &needs)).collect()
}

fn needs(modules: &resolve::Modules) -> Needs {
    let mut needs = Needs::new();
    for (path, module) in modules.all() {
        for (names, line) in module.named() {
            let Some(file) = modules.file_of(path, &names) else {
                continue;
            };
            if file == module.file {
                continue;
            }
            let name = names.join("::");
            let of = needs.entry(module.file.clone()).or_default();
            let first = of.entry(file).or_insert_with(|| Need {
                line,
                name: name.clone(),
            });
            if line < first.line {
                *first = Need { line, name };
            }
        }
    }
    needs
}

/// For each pair of files of which the first needs the second, finds the shortest cycle that leads
/// from the first to the second and back. Returns each cycle once.
fn cycles(needs: &Needs) -> BTreeSet<Vec<String>> {
    let mut found = BTreeSet::new();
    for (from, of) in needs {
        for to in of.keys() {
            if let Some(mut cycle) = shortest_path(needs, to, from) {
                let first = cycle.iter().enumerate().min_by_key(|(_, file)| *file);
                let first = first.map_or(0, |(at, _)| at);
                cycle.rotate_left(first);
                found.insert(cycle);
            }
        }
    }
    found
}

/// Returns the files on the shortest path from one file to another, including both.
fn shortest_path(needs: &Needs, from: &str, to: &str) -> Option<Vec<String>> {
    let mut before: BTreeMap<&str, &str> = BTreeMap::new();
    let mut open = VecDeque::from([from]);
    while let Some(file) = open.pop_front() {
        if file == to {
            let mut files = vec![to.to_owned()];
            let mut at = to;
            while at != from {
                at = before.get(at)?;
                files.push(at.to_owned());
            }
            files.reverse();
            return Some(files);
        }
        for next in needs.get(file).into_iter().flat_map(BTreeMap::keys) {
            if next != from && !before.contains_key(next.as_str()) {
                before.insert(next, file);
                open.push_back(next);
            }
        }
    }
    None
}

fn finding(cycle: &[String], needs: &Needs) -> Option<Finding> {
    let first = cycle.first()?;
    let mut steps = Vec::new();
    let mut line = None;
    for (from, to) in cycle.iter().zip(cycle.iter().cycle().skip(1)) {
        let need = needs.get(from)?.get(to)?;
        line.get_or_insert(need.line);
        let short = |file: &str| {
            file.split_once("/src/")
                .map_or(file.to_owned(), |it| it.1.into())
        };
        let (from, to) = (short(from), short(to));
        steps.push(format!("{from}:{} needs {to} (`{}`)", need.line, need.name));
    }
    let what = format!(
        "a cycle of files: {}; move what both need into a separate file, or pass it as an argument",
        steps.join(", ")
    );
    Some(Finding::new(first, line?, what))
}

#[cfg(test)]
mod tests;
