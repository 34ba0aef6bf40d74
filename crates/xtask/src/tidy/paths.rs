//! Every path that a document names exists.

use crate::finding::Finding;

/// A path in backticks is one of ours when it begins with one of these, or ends with one of the
/// endings below and has a folder.
const ROOTS: [&str; 7] = [
    "crates/",
    "docs/",
    "migrations/",
    "schemas/",
    "tests/",
    ".ci/",
    ".cargo/",
];

const ENDINGS: [&str; 6] = [".rs", ".md", ".sql", ".json", ".toml", ".yml"];

/// Files of the root that are named without a folder.
const FILES: [&str; 6] = [
    "docker-compose.yml",
    "Dockerfile",
    "LICENSE",
    "README.md",
    "Cargo.toml",
    "Cargo.lock",
];

/// `exists` is asked with paths from the root.
pub(super) fn check(path: &str, text: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let mut findings = Vec::new();
    let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
    for (number, line) in text.lines().enumerate() {
        let quoted = quoted(line)
            .into_iter()
            .filter(|it| is_path(it))
            .map(str::to_owned);
        let linked = targets(line)
            .into_iter()
            .filter_map(|it| from_root(folder, it));
        for named in quoted.chain(linked) {
            if !exists(named.trim_end_matches('/')) {
                let what = format!("`{named}` does not exist: name what there is");
                findings.push(Finding::new(path, number + 1, what));
            }
        }
    }
    findings
}

/// What stands between backticks.
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

/// Where the links of a line lead.
fn targets(line: &str) -> Vec<&str> {
    let starts = line.match_indices("](").map(|(at, _)| at + 2);
    starts
        .filter_map(|at| Some(&line[at..at + line[at..].find(')')?]))
        .collect()
}

/// A link's target as a path from the root; nothing for another site or a place on the same page.
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

    fn asked(path: &str, text: &str) -> Vec<String> {
        let findings = check(path, text, |_| false);
        let name = |it: Finding| it.what.split('`').nth(1).unwrap_or_default().to_owned();
        findings.into_iter().map(name).collect()
    }

    #[test]
    fn paths_and_links_are_looked_up() {
        let text = "See `crates/a/src/b.rs`, `schemas/x/` and [it](docs/C.md#part), `LICENSE`.";
        let named = ["crates/a/src/b.rs", "schemas/x/", "LICENSE", "docs/C.md"];
        assert_eq!(asked("README.md", text), named);
        assert_eq!(
            asked("docs/A.md", "[b](B.md) [c](../crates/)"),
            ["docs/B.md", "crates"]
        );
        assert_eq!(asked("README.md", "`elsewhere/a.rs`"), ["elsewhere/a.rs"]);
    }

    #[test]
    fn other_words_are_not() {
        let text = "`POST /hooks/{source}` `application/json` `crates/*/src` `/run/secrets/a.toml` \
                    `hookbox.toml` [x](https://a.b/c.md) [y](#part) `a::b` `~/x/a.rs`";
        assert_eq!(asked("README.md", text), [""; 0]);
    }

    #[test]
    fn what_exists_is_no_finding() {
        let text = "`crates/a.rs` `crates/b.rs`\n`crates/`";
        let findings = check("README.md", text, |path| path != "crates/b.rs");
        assert_eq!(findings.len(), 1);
        assert_eq!(findings[0].line, 1);
    }
}
