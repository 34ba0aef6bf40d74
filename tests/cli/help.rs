//! Checks that the help of every command equals a committed file, so that a change of the help
//! shows up in a review.

use std::path::Path;

use crate::binary::run;

#[test]
fn the_help_is_as_committed() {
    let here = std::env::temp_dir();
    let mut found = String::new();
    help(&here, &mut Vec::new(), &mut found);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/cli-help.txt");
    if std::env::var_os("UPDATE_SCHEMAS").is_some() {
        std::fs::write(&file, &found).unwrap();
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        committed == found,
        "the help differs from schemas/cli-help.txt; UPDATE_SCHEMAS=1 rewrites it:\n{found}"
    );
}

/// Collects the help of a command and of its subcommands, in the order in which the help lists
/// them.
fn help(here: &Path, command: &mut Vec<String>, found: &mut String) {
    let words: Vec<&str> = command
        .iter()
        .map(String::as_str)
        .chain(["--help"])
        .collect();
    let said = run(here, &words).well();
    found.push_str(&format!("$ hookbox {}\n{}\n", words.join(" "), said.out));
    let listed = said
        .out
        .split_once("Commands:\n")
        .map_or("", |(_, listed)| listed);
    for line in listed.lines().take_while(|line| !line.is_empty()) {
        // The texts of subcommands may continue on lines that are indented further.
        let name = line
            .strip_prefix("  ")
            .filter(|line| !line.starts_with(' '));
        let name = name.and_then(|line| line.split_whitespace().next());
        let Some(name) = name.filter(|name| *name != "help") else {
            continue;
        };
        command.push(name.to_owned());
        help(here, command, found);
        command.pop();
    }
}
