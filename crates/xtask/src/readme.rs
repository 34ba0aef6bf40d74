//! Finds the test command in the README, so that CI runs what a newcomer types.

use anyhow::{Context, Result};

use crate::repository;

/// The words that identify the test command in README.md.
const TEST_COMMAND: &str = "cargo xtask test";

/// Returns the line of README.md, inside a code fence, that runs all tests.
///
/// # Errors
/// When README.md cannot be read or has no such line.
pub fn test_command() -> Result<String> {
    let text = repository::read("README.md").context("reading README.md")?;
    find(&text).with_context(|| format!("README.md has no fenced line with `{TEST_COMMAND}`"))
}

fn find(text: &str) -> Option<String> {
    let mut fenced = false;
    for line in text.lines().map(str::trim) {
        if line.starts_with("```") {
            fenced = !fenced;
        } else if fenced && line.contains(TEST_COMMAND) {
            return Some(line.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use hookbox_testkit::servers::find::{POSTGRES_MIN, RABBITMQ_MIN};

    use super::*;

    #[test]
    fn only_a_fenced_line_counts() {
        let text = "Run `cargo xtask test`:\ncargo xtask test --no\n```sh\ncargo xtask test\n```\n";
        assert_eq!(find(text).as_deref(), Some("cargo xtask test"));
        assert_eq!(find("cargo xtask test"), None);
    }

    #[test]
    fn the_readme_has_one() -> Result<()> {
        assert!(test_command()?.starts_with(TEST_COMMAND));
        Ok(())
    }

    #[test]
    fn the_readme_names_the_servers_that_the_tests_want() -> Result<()> {
        let text = repository::read("README.md")?;
        let (postgres, rabbitmq) = (POSTGRES_MIN.0, RABBITMQ_MIN);
        for words in [
            format!("PostgreSQL ({postgres} or newer)"),
            format!("RabbitMQ ({rabbitmq} or newer)"),
            format!("RabbitMQ {rabbitmq} to 4.x and PostgreSQL {postgres} or newer"),
        ] {
            assert!(text.contains(&words), "README.md lacks {words:?}");
        }
        Ok(())
    }
}
