//! Checks that every hookbox command in a document exists, and has the options that the document
//! uses.
//!
//! The commands and options are read from `schemas/cli-help.txt`, which a test compares with the
//! binary.

use crate::finding::Finding;

/// A line of a document that begins with one of these texts is a command line of hookbox.
const BEGINS: [&str; 2] = ["hookbox ", "cargo run --release -- "];

/// The help text of each command, with the name of the command.
pub(super) struct Help<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Help<'a> {
    /// Reads the committed help. Each part begins with the command that prints it.
    pub fn read(text: &'a str) -> Self {
        let parts = text.split("$ hookbox").filter_map(|part| {
            let (command, help) = part.split_once("--help\n")?;
            Some((command.trim(), help))
        });
        Self(parts.collect())
    }

    fn of(&self, command: &str) -> Option<&'a str> {
        let found = self.0.iter().find(|(words, _)| *words == command);
        found.map(|(_, help)| *help)
    }
}

pub(super) fn check(path: &str, text: &str, help: &Help<'_>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut fenced = false;
    for (number, line) in text.lines().enumerate() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
            continue;
        }
        let typed = fenced || line.starts_with("    ");
        let typed = typed.then(|| line.trim_start()).into_iter();
        let quoted = line.split('`').skip(1).step_by(2);
        let commands = typed.chain(quoted).filter_map(|it| {
            let mut begins = BEGINS.iter();
            begins.find_map(|begin| it.strip_prefix(begin))
        });
        let wrong = commands.filter_map(|it| wrong(it, help));
        findings.extend(wrong.map(|what| Finding::new(path, number + 1, what)));
    }
    findings
}

/// Returns what is wrong with the words after the program's name, if anything.
fn wrong(words: &str, help: &Help<'_>) -> Option<String> {
    let words = words.split(['#', '|']).next().unwrap_or_default();
    let words: Vec<&str> = words.split_whitespace().collect();
    let (mut command, mut its) = (String::new(), help.of("")?);
    for word in words.iter().take_while(|word| !word.starts_with('-')) {
        // A word is a subcommand only if the command before it has subcommands. Other words are
        // arguments, and a word in capitals stands for any value.
        if !its.contains("\nCommands:\n") || !word.starts_with(|c: char| c.is_ascii_lowercase()) {
            break;
        }
        command = format!("{command} {word}").trim_start().to_owned();
        let Some(found) = help.of(&command) else {
            return Some(format!("`hookbox {command}` is not a command"));
        };
        its = found;
    }
    let options = words.iter().filter(|word| word.starts_with("--"));
    let mut names = options.filter_map(|word| word.split('=').next());
    let missing = names.find(|name| !has(its, name))?;
    Some(format!("`hookbox {command}` has no option `{missing}`"))
}

fn has(help: &str, option: &str) -> bool {
    let mut words = help.split(|c: char| c.is_whitespace() || c == ',');
    words.any(|word| word == option)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HELP: &str = "$ hookbox --help\nInbox\n\nCommands:\n  dead  x\n  run  y\n\nOptions:\n  \
                        --json  JSON\n\n$ hookbox dead --help\nx\n\nCommands:\n  list  z\n\n\
                        $ hookbox dead list --help\nz\n\nOptions:\n  -l, --limit <N>  How many\n\n\
                        $ hookbox run --help\ny\n";

    fn found(text: &str) -> Vec<(usize, String)> {
        let findings = check("docs/A.md", text, &Help::read(HELP));
        findings.into_iter().map(|it| (it.line, it.what)).collect()
    }

    #[test]
    fn what_there_is_passes() {
        let text = "Call `hookbox dead list --limit 5`, `hookbox --json` or `hookbox dead`.\n\
                    hookbox is one program, and hookbox dead show is no quotation.\n\
                    ```sh\nhookbox dead list 7 --limit=5  # --other\nhookbox run | head\n```\n\
                    `hookbox COMMAND --json`\n    hookbox run\n";
        assert_eq!(found(text), []);
    }

    #[test]
    fn planted_breaches_are_found() {
        let text = "`hookbox dead show 1`\n```text\ncargo run --release -- fly --json\n\
                    hookbox dead list --all\n```\n    hookbox run --fast\n";
        let lines: Vec<usize> = found(text).into_iter().map(|(line, _)| line).collect();
        assert_eq!(lines, [1, 3, 4, 6]);
        let words: String = found(text).into_iter().map(|(_, what)| what).collect();
        for expected in [
            "`hookbox dead show` is not a command",
            "`hookbox fly` is not a command",
            "`hookbox dead list` has no option `--all`",
            "`hookbox run` has no option `--fast`",
        ] {
            assert!(words.contains(expected), "{expected}: {words}");
        }
    }
}
