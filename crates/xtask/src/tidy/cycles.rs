//! Checks that no file of a crate needs a file that needs it, directly or through other files.
//!
//! What counts: file A needs file B if code in A names an item that B declares, in a `use` or by a
//! path in the code (`crate::…`, `self::…`, `super::…`, the name of a child module, or of an
//! imported module). A re-export is followed to the file that declares the item, so `crate::Name`
//! needs the file of `Name` and not `lib.rs`.
//!
//! What does not count: `mod child;`; a `pub use` (or `pub(crate) use`) of a name that the file
//! itself does not use; a module that is named without an item in it; everything under
//! `#[cfg(test)]`, including the files of such modules; and what no path shows, such as a method of
//! a type or a path in the text of an attribute. So a parent may declare its children, re-export
//! their items and call them, or its children may use what it declares, but not both.

mod known;
mod module;
mod resolve;

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::paths::Tree;
use crate::finding::Finding;

/// The first place where a file needs another one, with the name that it uses.
#[derive(Clone)]
struct Need {
    line: usize,
    name: String,
}

/// For each file, the files that it needs.
type Needs = BTreeMap<String, BTreeMap<String, Need>>;

/// Returns every cycle of files in the crate that begins with this `lib.rs` or `main.rs`, except
/// the known ones.
pub(super) fn check(root: &str, tree: &impl Tree) -> Vec<Finding> {
    check_but(root, tree, known::KNOWN)
}

fn check_but(root: &str, tree: &impl Tree, known: &[(&str, &str)]) -> Vec<Finding> {
    let folder = root.rsplit_once('/').map_or("", |(folder, _)| folder);
    let modules = resolve::Modules::read(root, tree);
    let all = needs(&modules);
    let mut rest = all.clone();
    let mut findings = Vec::new();
    // A library and a program in the same folder have separate modules.
    let is_elsewhere = |path: &str| {
        let is_inside = path
            .strip_prefix(folder)
            .is_some_and(|it| it.starts_with('/'));
        let mut files = modules.all().map(|(_, module)| &module.file);
        !is_inside || tree.exists(path) && !files.any(|file| file == path)
    };
    for (from, to) in known.iter().filter(|(from, _)| !is_elsewhere(from)) {
        let cut = rest.get_mut(*from).and_then(|of| of.remove(*to));
        if cut.is_none() || shortest_path(&all, to, from).is_none() {
            let what = format!(
                "no cycle from here leads to {to} any more: remove the pair from the known cycles"
            );
            findings.push(Finding::new(from, 1, what));
        }
    }
    let cycles = cycles(&rest);
    findings.extend(cycles.iter().filter_map(|it| finding(it, &rest)));
    findings
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

/// Returns, for each need, the shortest cycle that it is part of; each cycle once.
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
