//! Checks that every path in a document exists. If an item stands after the path, also checks that
//! the file declares the item: for `crates/worker/src/attempt.rs::run`, the file must declare
//! something called `run`.

use crate::finding::Finding;

/// The beginnings of paths in the repository. A path in backticks is checked if it begins with one
/// of these, or if it contains a folder and ends with one of `ENDINGS`.
const ROOTS: [&str; 8] = [
    "crates/",
    "docs/",
    "migrations/",
    "schemas/",
    "tests/",
    ".ci/",
    ".cargo/",
    ".docker/",
];

const ENDINGS: [&str; 8] = [
    ".rs", ".md", ".sql", ".json", ".toml", ".yml", ".yaml", ".txt",
];

/// Files in the root that are named without a folder.
const FILES: [&str; 8] = [
    "docker-compose.yml",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "Cargo.toml",
    "Cargo.lock",
    ".clippy.toml",
];

/// The keywords that declare a name in Rust.
const DECLARES: [&str; 8] = [
    "fn",
    "struct",
    "enum",
    "trait",
    "type",
    "const",
    "mod",
    "macro_rules",
];

/// The files that are looked up, by their paths from the root of the repository.
pub(super) trait Tree {
    /// Returns whether a file or a folder exists.
    fn exists(&self, path: &str) -> bool;

    /// Returns the text of a file; an empty text if the file does not exist.
    fn read(&self, path: &str) -> String;
}

/// Checks every path and every link in a document.
pub(super) fn check(path: &str, text: &str, tree: &impl Tree) -> Vec<Finding> {
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (number, line) in text.lines().enumerate() {
        let linked = targets(line)
            .into_iter()
            .filter_map(|it| from_root(folder, it))
            .filter_map(|it| missing(&it, None, tree));
        let named = quoted(line)
            .into_iter()
            .filter_map(|it| missing_words(it, tree));
        let here = |what: String| Finding::new(path, number + 1, what);
        findings.extend(named.chain(linked).map(here));
    }
    findings
}

/// Checks the paths from the root that a comment names. Shorter paths are relative to the comment's
/// own file and are not checked.
pub(super) fn check_comments(path: &str, comments: &str, tree: &impl Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (number, line) in comments.lines().enumerate() {
        let named = quoted(line).into_iter();
        let named = named.filter(|it| ROOTS.iter().any(|root| it.starts_with(root)));
        let missing = named.filter_map(|it| missing_words(it, tree));
        findings.extend(missing.map(|what| Finding::new(path, number + 1, what)));
    }
    findings
}

/// Returns what is wrong with the words between two backticks, if they are a path.
fn missing_words(words: &str, tree: &impl Tree) -> Option<String> {
    let (file, item) = match words.split_once("::") {
        Some((file, item)) if file.ends_with(".rs") => (file, Some(item)),
        Some(_) | None => (words, None),
    };
    is_path(file).then(|| missing(file, item, tree)).flatten()
}

fn missing(file: &str, item: Option<&str>, tree: &impl Tree) -> Option<String> {
    if !tree.exists(file.trim_end_matches('/')) {
        return Some(format!("`{file}` does not exist: name a file that exists"));
    }
    let item = item?;
    // Of a path such as `Type::method`, only the last part is looked up, because no line of Rust
    // declares the whole path.
    let name = item.rsplit("::").next().unwrap_or(item);
    let is_there = declares(&tree.read(file), name);
    (!is_there).then(|| format!("`{file}` declares no `{item}`: name an item that it declares"))
}

/// Returns whether a line of Rust declares the name.
fn declares(text: &str, name: &str) -> bool {
    let mut lines = text
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    lines.any(|line| {
        let parts = line.split(|c: char| !c.is_alphanumeric() && c != '_');
        let words: Vec<&str> = parts.filter(|word| !word.is_empty()).collect();
        let mut pairs = words.windows(2);
        pairs.any(|pair| DECLARES.contains(&pair[0]) && pair[1] == name)
    })
}

/// Returns the texts between backticks.
fn quoted(line: &str) -> Vec<&str> {
    line.split('`').skip(1).step_by(2).collect()
}

fn is_path(words: &str) -> bool {
    let is_pattern = words.contains(|c: char| c.is_whitespace() || "{}<>*$…:".contains(c));
    let is_ours = ROOTS.iter().any(|root| words.starts_with(root))
        || (words.contains('/') && ENDINGS.iter().any(|ending| words.ends_with(ending)));
    let is_elsewhere = words.starts_with('/') || words.starts_with('~') || words.starts_with("./");
    FILES.contains(&words) || (is_ours && !is_pattern && !is_elsewhere)
}

/// Returns the targets of the links in a line.
fn targets(line: &str) -> Vec<&str> {
    let starts = line.match_indices("](").map(|(at, _)| at + 2);
    starts
        .filter_map(|at| Some(&line[at..at + line[at..].find(')')?]))
        .collect()
}

/// Returns a link's target as a path from the root; `None` for another site or a place on the same
/// page.
fn from_root(folder: &str, target: &str) -> Option<String> {
    let path = target.split('#').next().filter(|path| !path.is_empty())?;
    if path.contains("://") || path.starts_with("mailto:") {
        return None;
    }
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository that has only these files.
    struct Of(&'static [(&'static str, &'static str)]);

    impl Tree for Of {
        fn exists(&self, path: &str) -> bool {
            let inside = |file: &str| file.starts_with(&format!("{path}/"));
            self.0.iter().any(|(file, _)| *file == path || inside(file))
        }

        fn read(&self, path: &str) -> String {
            let found = self.0.iter().find(|(file, _)| *file == path);
            found.map_or_else(String::new, |(_, text)| (*text).to_owned())
        }
    }

    const EMPTY: Of = Of(&[]);

    fn asked(path: &str, text: &str) -> Vec<String> {
        let findings = check(path, text, &EMPTY);
        let name = |it: Finding| it.what.split('`').nth(1).unwrap_or_default().to_owned();
        findings.into_iter().map(name).collect()
    }

    #[test]
    fn paths_and_links_are_checked() {
        let text = "See `crates/a/src/b.rs`, `schemas/x/` and [it](docs/C.md#part), `LICENSE`.";
        let named = ["crates/a/src/b.rs", "schemas/x/", "LICENSE", "docs/C.md"];
        assert_eq!(asked("README.md", text), named);
        assert_eq!(
            asked("docs/A.md", "[b](B.md) [c](../crates/)"),
            ["docs/B.md", "crates"]
        );
        assert_eq!(asked("README.md", "`elsewhere/a.rs`"), ["elsewhere/a.rs"]);
        assert_eq!(asked("docs/A.md", "`crates/a.rs::b`"), ["crates/a.rs"]);
    }

    #[test]
    fn other_words_are_not() {
        let text = "`POST /hooks/{source}` `application/json` `crates/*/src` `/run/secrets/a.toml` \
                    `hookbox.toml` [x](https://a.b/c.md) [y](#part) `a::b` `~/x/a.rs`";
        assert_eq!(asked("README.md", text), [""; 0]);
    }

    #[test]
    fn what_exists_is_no_finding() {
        let tree = Of(&[("crates/a.rs", "")]);
        let text = "`crates/a.rs` `crates/b.rs`\n`crates/`";
        let findings = check("README.md", text, &tree);
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 1);
    }

    #[test]
    fn what_is_named_inside_a_file_is_declared_there() {
        const CODE: &str = "// fn gone() {}\nimpl A {\n    pub(crate) async fn run(&self) {}\n}\n\
                    const fn fixed() {}\nstruct Running;\n";
        let tree = Of(&[("crates/a.rs", CODE)]);
        for good in ["run", "A::run", "fixed", "Running"] {
            let text = format!("`crates/a.rs::{good}`");
            assert_eq!(check("docs/A.md", &text, &tree), [], "{good}");
        }
        for bad in ["gone", "A", "A::stop", "ru", "Running::new"] {
            let text = format!("\n`crates/a.rs::{bad}`");
            let found = check("docs/A.md", &text, &tree);
            assert_eq!(found.len(), 1, "{bad}");
            assert_eq!(found[0].line, 2);
            assert!(found[0].what.contains(&format!("declares no `{bad}`")));
        }
    }

    #[test]
    fn comments_are_held_to_paths_from_the_root() {
        let text = "see `docs/GONE.md`\nand `b.rs`, `src/b.rs`, `docs/A.md`";
        let found = check_comments("crates/a.rs", text, &Of(&[("docs/A.md", "")]));
        assert_eq!(found.len(), 1);
        assert!(found[0].what.contains("docs/GONE.md"));
    }
}
