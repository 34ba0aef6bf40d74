//! Checks that files, functions and lines are short enough, and that each file says what it is for.

use crate::finding::Finding;
use crate::source::Source;

/// The most lines in a file: what a reader can keep in mind.
const FILE_LINES_MAX: usize = 400;

/// The most lines in a function: what fits on a screen.
const FUNCTION_LINES_MAX: usize = 70;

/// The most columns in a line: what fits on a screen beside another file.
const COLUMNS_MAX: usize = 100;

/// Names of files and folders that do not describe their content.
const EMPTY_NAMES: [&str; 8] = [
    "util",
    "utils",
    "common",
    "helper",
    "helpers",
    "types",
    "misc",
    "shared_types",
];

pub(super) fn check(path: &str, text: &str) -> Vec<Finding> {
    let mut findings = name(path);
    if !text.starts_with("//!") {
        let what = "begin with `//!`: one sentence on what this file is for";
        findings.push(Finding::new(path, 1, what));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        let what = format!("{lines} lines, the limit is {FILE_LINES_MAX}: split the file by topic");
        findings.push(Finding::new(path, FILE_LINES_MAX + 1, what));
    }
    let source = Source::new(text);
    let continues_with_text = source.continues_with_text();
    for (number, line) in text.lines().enumerate() {
        if continues_with_text[number] {
            continue;
        }
        let columns = line.chars().count();
        if columns > COLUMNS_MAX {
            let what = format!("{columns} columns, the limit is {COLUMNS_MAX}: break the line");
            findings.push(Finding::new(path, number + 1, what));
        }
    }
    for function in source
        .functions()
        .iter()
        .filter(|it| it.lines > FUNCTION_LINES_MAX)
    {
        let what = format!(
            "`{}` has {} lines, the limit is {FUNCTION_LINES_MAX}: move a step into a function \
             with a name",
            function.name, function.lines
        );
        findings.push(Finding::new(path, function.line, what));
    }
    findings
}

fn name(path: &str) -> Vec<Finding> {
    let parts = path
        .split('/')
        .map(|part| part.strip_suffix(".rs").unwrap_or(part));
    parts
        .filter(|part| EMPTY_NAMES.contains(part))
        .map(|part| {
            Finding::new(
                path,
                1,
                format!("`{part}` describes nothing: give it a name that says what it contains"),
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whats(path: &str, text: &str) -> Vec<(usize, String)> {
        check(path, text)
            .into_iter()
            .map(|it| (it.line, it.what))
            .collect()
    }

    #[test]
    fn a_good_file_passes() {
        let long = "x".repeat(COLUMNS_MAX);
        assert_eq!(
            whats(
                "crates/a/src/b.rs",
                &format!("//! What.\n// {}\n", &long[3..])
            ),
            []
        );
    }

    #[test]
    fn planted_breaches_are_found() {
        let body = "    go();\n".repeat(FUNCTION_LINES_MAX);
        let text = format!("fn long() {{\n{body}}}\n// {}\n", "é".repeat(98));
        let found = whats("crates/a/src/helpers.rs", &text);
        let lines: Vec<usize> = found.iter().map(|(line, _)| *line).collect();
        assert_eq!(lines, [1, 1, 73, 1]);
        let words: String = found.into_iter().map(|(_, what)| what).collect();
        for word in [
            "`helpers` describes nothing",
            "begin with",
            "101 columns",
            "`long` has 72 lines",
        ] {
            assert!(words.contains(word), "{word}: {words}");
        }
        let long = whats("crates/a/src/b.rs", &"//! x\n".repeat(FILE_LINES_MAX + 1));
        assert_eq!(long.len(), 1);
        assert!(long[0].1.starts_with("401 lines"));
    }

    #[test]
    fn a_folder_is_a_name_too() {
        assert_eq!(whats("crates/a/src/common/b.rs", "//! x\n").len(), 1);
    }
}
