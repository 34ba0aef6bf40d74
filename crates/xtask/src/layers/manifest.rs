//! What the manifests of the workspace declare: its packages, and the dependencies of each.

use anyhow::{Context, Result};
use serde_json::Value;

use crate::finding::Finding;
use crate::repository;

/// One dependency, as a manifest declares it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Dependency {
    /// The crate that has the dependency.
    pub of: String,
    /// The crate that is depended on.
    pub on: String,
    /// Whether the dependency is only for tests, examples and benches.
    pub dev: bool,
}

/// Returns the names of all packages of the workspace, and all their dependencies.
///
/// # Errors
/// When cargo cannot be run.
pub(super) fn declared() -> Result<(Vec<String>, Vec<Dependency>)> {
    let output = repository::cargo()
        .args([
            "metadata",
            "--format-version",
            "1",
            "--no-deps",
            "--offline",
        ])
        .output()
        .context("running cargo metadata")?;
    let metadata: Value =
        serde_json::from_slice(&output.stdout).context("reading the output of cargo metadata")?;
    let list = |value: &Value, key: &str| -> Vec<Value> {
        value[key].as_array().cloned().unwrap_or_default()
    };
    let text = |value: &Value| short(value.as_str().unwrap_or_default());
    let packages = list(&metadata, "packages");
    let dependencies = packages.iter().flat_map(|package| {
        list(package, "dependencies")
            .into_iter()
            .map(|dependency| Dependency {
                of: text(&package["name"]),
                on: text(&dependency["name"]),
                dev: dependency["kind"] == "dev",
            })
    });
    Ok((
        packages
            .iter()
            .map(|package| text(&package["name"]))
            .collect(),
        dependencies.collect(),
    ))
}

/// Returns a finding at the line of a manifest that names the dependency.
pub(super) fn finding(package: &str, what: &str) -> Finding {
    let path = ["crates/", "tests/"]
        .map(|folder| format!("{folder}{package}/Cargo.toml"))
        .into_iter()
        .find(|path| repository::root().join(path).exists())
        .unwrap_or_else(|| "tests/Cargo.toml".to_owned());
    let named = what.split('`').nth(1).unwrap_or_default();
    let text = repository::read(&path).unwrap_or_default();
    let line = text.lines().position(|line| {
        line.trim_start_matches("hookbox-").starts_with(named) && line.contains("workspace")
    });
    Finding::new(&path, line.map_or(1, |line| line + 1), what)
}

/// Removes the prefix `hookbox-` of a package name, because the folders of the packages have names
/// without it.
fn short(name: &str) -> String {
    name.strip_prefix("hookbox-").unwrap_or(name).to_owned()
}
