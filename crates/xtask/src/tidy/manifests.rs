//! Checks that the version of each dependency is given once, in the `Cargo.toml` of the workspace.

use crate::finding::Finding;

const WHAT: &str = "give the version in [workspace.dependencies], and here `workspace = true`";

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut section = Section::Other;
    // The number of brackets that are still open. While it is above zero, a line continues the
    // array of an earlier line, and is not an entry.
    let mut open = 0_i32;
    for (number, line) in text.lines().enumerate() {
        let line = line
            .split_once(" #")
            .map_or(line, |(before, _)| before)
            .trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if open == 0 && line.starts_with('[') {
            findings.extend(section.end(path));
            section = Section::begin(line, number + 1);
            continue;
        }
        if open == 0 {
            findings.extend(section.entry(path, line, number + 1));
        }
        open += line
            .chars()
            .map(|c| i32::from("[{".contains(c)) - i32::from("]}".contains(c)))
            .sum::<i32>();
    }
    findings.extend(section.end(path));
    findings
}

enum Section {
    /// A list such as `[dependencies]`, in which each line is an entry.
    List,
    /// A section such as `[dependencies.name]`, which is one entry in several lines.
    One {
        line: usize,
        workspace: bool,
    },
    Other,
}

impl Section {
    fn begin(header: &str, line: usize) -> Section {
        let name = header.trim_matches(|c| c == '[' || c == ']');
        let mut parts = name
            .split('.')
            .skip_while(|part| !part.ends_with("dependencies"));
        match (parts.next(), parts.next()) {
            (Some(_), None) => Section::List,
            (Some(_), Some(_)) => Section::One {
                line,
                workspace: false,
            },
            (None, _) => Section::Other,
        }
    }

    fn entry(&mut self, path: &str, entry: &str, number: usize) -> Option<Finding> {
        let compact: String = entry.chars().filter(|c| !c.is_whitespace()).collect();
        // A crate may depend on itself, to enable a feature for its tests. Such a dependency needs
        // no version.
        let inherits = compact.contains("workspace=true") || compact.contains("path=\".\"");
        match self {
            Section::List => (!inherits).then(|| Finding::new(path, number, WHAT)),
            Section::One { workspace, .. } => {
                *workspace |= inherits;
                None
            }
            Section::Other => None,
        }
    }

    fn end(&self, path: &str) -> Option<Finding> {
        match self {
            Section::One {
                line,
                workspace: false,
            } => Some(Finding::new(path, *line, WHAT)),
            Section::One {
                workspace: true, ..
            }
            | Section::List
            | Section::Other => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn planted_breaches_are_found() {
        let text = "[package]\nname = \"a\"\n\n[dependencies]\n# why\nb.workspace = true\n\
                    c = \"1\"\nd = { workspace = true, features = [\n    \"x\",\n] }\n\
                    [dev-dependencies]\ne = { version = \"1\" }\na = { path = \".\" }\n\
                    [target.'cfg(unix)'.dependencies]\nf = { path = \"../f\" }\n\
                    [dependencies.g]\nworkspace = true\n[build-dependencies.h]\nversion = \"1\"\n\
                    [features]\ni = []\n";
        let lines: Vec<usize> = check("a", text).into_iter().map(|it| it.line).collect();
        assert_eq!(lines, [7, 12, 15, 18]);
    }
}
