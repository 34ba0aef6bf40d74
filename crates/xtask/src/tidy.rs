//! `cargo xtask tidy`: checks the house rules that a program can check, and prints all findings at
//! once.
//!
//! Each rule is a pure function from texts to findings, and is tested with a planted violation. A
//! test in this file checks the repository itself against all rules.

mod banned;
mod commands;
mod cycles;
mod manifests;
mod migrations;
mod paths;
mod rust;
mod twins;
mod words;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::finding::Finding;
use crate::source::{Kind, Source};
use crate::{layers, repository};

/// The folders that contain Rust source.
const RUST: [&str; 2] = ["crates", "tests"];

/// The folder of programs that users copy. It is not part of the workspace.
const EXAMPLES: &str = "examples";

/// Runs all checks and prints what they found.
///
/// # Errors
/// When the repository cannot be read.
pub fn run() -> Result<ExitCode> {
    match check() {
        Ok(()) => Ok(ExitCode::SUCCESS),
        Err(error) => {
            eprintln!("error: {error:#}");
            Ok(ExitCode::FAILURE)
        }
    }
}

/// Prints every finding; returns an error if there is one.
///
/// # Errors
/// When there is a finding, or the repository cannot be read.
pub fn check() -> Result<()> {
    let findings = findings()?;
    for finding in &findings {
        println!("{finding}");
    }
    match findings.len() {
        0 => Ok(()),
        1 => bail!("1 finding"),
        more => bail!("{more} findings"),
    }
}

fn findings() -> Result<Vec<Finding>> {
    let mut findings = layers::findings()?;
    for path in rust_files()? {
        let text = repository::read(&path).with_context(|| path.clone())?;
        findings.extend(rust::check(&path, &text));
        findings.extend(banned::check(&path, &text));
        let comments = Source::new(&text).only(Kind::Comment);
        findings.extend(paths::check_comments(&path, &comments, &Repository));
    }
    for root in crate_roots()? {
        findings.extend(cycles::check(&root, &Repository));
    }
    for path in manifest_files()? {
        let text = repository::read(&path).with_context(|| path.clone())?;
        findings.extend(manifests::check(&path, &text));
    }
    let help = repository::read("schemas/cli-help.txt").context("schemas/cli-help.txt")?;
    let help = commands::Help::read(&help);
    for path in documents()? {
        let text = repository::read(&path).with_context(|| path.clone())?;
        findings.extend(paths::check(&path, &text, &Repository));
        findings.extend(commands::check(&path, &text, &help));
    }
    findings.extend(words()?);
    let engines = ["migrations/postgres", "migrations/sqlite"];
    let [postgres, sqlite] = engines.map(|folder| repository::files(folder, |_| true));
    findings.extend(migrations::check(&postgres?, &sqlite?));
    findings.extend(twins()?);
    findings.sort();
    findings.dedup();
    Ok(findings)
}

/// Compares the files of the drivers of both stores.
fn twins() -> Result<Vec<Finding>> {
    let files = |folder: &str| repository::files(folder, |path| path.ends_with(".rs"));
    let [of_postgres, of_sqlite] = twins::FOLDERS;
    let (postgres, sqlite) = (files(of_postgres)?, files(of_sqlite)?);
    let mut findings = twins::check_files(&postgres, &sqlite);
    for path in &postgres {
        let twin = path.replacen(of_postgres, of_sqlite, 1);
        if sqlite.contains(&twin) {
            let (first, second) = (repository::read(path)?, repository::read(&twin)?);
            findings.extend(twins::check_order((path, &first), (&twin, &second)));
        }
    }
    Ok(findings)
}

/// Finds words that must not be used, in everything that people read. Migrations are left out,
/// because they must not change: a store compares the digest of each migration with the digest that
/// it recorded when it ran the migration.
fn words() -> Result<Vec<Finding>> {
    let glossary = repository::read(words::GLOSSARY).context(words::GLOSSARY)?;
    let words = match words::Words::read(&glossary) {
        Ok(words) => words,
        Err(finding) => return Ok(vec![finding]),
    };
    let mut paths = [rust_files()?, manifest_files()?, documents()?].concat();
    paths.extend(repository::files("docs", |path| path.ends_with(".yaml"))?);
    paths.extend(repository::files("schemas", |path| {
        [".txt", ".json", ".sql"]
            .iter()
            .any(|it| path.ends_with(it))
    })?);
    for folder in RUST {
        paths.extend(repository::files(folder, |path| path.ends_with(".patch"))?);
    }
    paths.extend(repository::files(EXAMPLES, |path| !path.ends_with(".rs"))?);
    let others = [
        ".clippy.toml",
        ".ci/run",
        ".docker/Dockerfile",
        ".docker/hookbox.toml",
    ];
    paths.extend(others.map(str::to_owned));
    let mut findings = Vec::new();
    for path in paths {
        let text = repository::read(&path).with_context(|| path.clone())?;
        findings.extend(words.check(&path, &text));
    }
    Ok(findings)
}

/// The repository itself, in which the names in documents are looked up.
struct Repository;

impl paths::Tree for Repository {
    fn exists(&self, path: &str) -> bool {
        repository::root().join(path).exists()
    }

    fn read(&self, path: &str) -> String {
        repository::read(path).unwrap_or_default()
    }
}

fn rust_files() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in RUST.into_iter().chain([EXAMPLES]) {
        found.extend(repository::files(folder, |path| path.ends_with(".rs")).context(folder)?);
    }
    Ok(found)
}

/// Returns the first file of each library and each program.
fn crate_roots() -> Result<Vec<String>> {
    let is_root = |path: &str| {
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let is_first = name == "lib.rs" || name == "main.rs";
        folder.ends_with("/src/bin") || is_first && folder.ends_with("/src")
    };
    let mut found = Vec::new();
    for folder in RUST {
        found.extend(repository::files(folder, is_root).context(folder)?);
    }
    Ok(found)
}

fn manifest_files() -> Result<Vec<String>> {
    let mut found = Vec::new();
    for folder in RUST {
        found.extend(repository::files(folder, |path| {
            path.ends_with("/Cargo.toml")
        })?);
    }
    Ok(found)
}

fn documents() -> Result<Vec<String>> {
    let mut found = repository::files("docs", |path| path.ends_with(".md")).context("docs")?;
    found.push("README.md".to_owned());
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_repository_is_tidy() -> Result<()> {
        let findings: Vec<String> = findings()?.iter().map(ToString::to_string).collect();
        assert!(
            findings.is_empty(),
            "cargo xtask tidy:\n{}",
            findings.join("\n")
        );
        Ok(())
    }

    #[test]
    fn the_files_of_the_rules_are_found() -> Result<()> {
        assert!(
            rust_files()?
                .iter()
                .any(|path| path == "crates/xtask/src/tidy.rs")
        );
        assert!(
            manifest_files()?
                .iter()
                .any(|path| path == "tests/Cargo.toml")
        );
        for root in ["crates/worker/src/lib.rs", "tests/chaos/src/main.rs"] {
            assert!(crate_roots()?.iter().any(|path| path == root), "{root}");
        }
        assert!(documents()?.iter().any(|path| path.starts_with("docs/")));
        Ok(())
    }
}
