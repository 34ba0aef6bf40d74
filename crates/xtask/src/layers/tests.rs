//! Tests the table of the allowed dependencies with planted violations, and with the workspace as
//! it is.

use anyhow::Context;

use super::*;
use crate::repository;

fn found(of: &str, on: &str, dev: bool) -> Vec<(String, String)> {
    let dependency = Dependency {
        of: of.to_owned(),
        on: on.to_owned(),
        dev,
    };
    check(&[], &[dependency])
}

fn planted(of: &str, on: &str, dev: bool) -> String {
    let found = found(of, on, dev);
    assert_eq!(found.len(), 1, "{of} on {on}");
    assert_eq!(found[0].0, of);
    found[0].1.clone()
}

#[test]
fn the_workspace_keeps_its_layers() -> Result<()> {
    let findings: Vec<String> = findings()?.iter().map(ToString::to_string).collect();
    assert!(findings.is_empty(), "{}", findings.join("\n"));
    let (packages, dependencies) = manifest::declared()?;
    assert_eq!(packages.len(), LAYERS.len());
    assert!(dependencies.len() > packages.len());
    Ok(())
}

#[test]
fn planted_breaches_inside_are_found() {
    assert!(planted("event", "driver", false).contains("may use nothing"));
    assert!(planted("ingest", "worker", false).contains("event, signature, driver"));
    assert!(planted("worker", "driver-postgres", false).contains("[dev-dependencies]"));
    assert!(planted("hookbox", "testkit", false).contains("[dev-dependencies]"));
    assert!(planted("hookbox", "conformance", false).contains("[dev-dependencies]"));
    planted("driver-sqlite", "driver-postgres", true);
    planted("operations", "ingest", true);
    planted("xtask", "event", true);
}

#[test]
fn planted_breaches_outside_are_found() {
    assert!(planted("worker", "lapin", false).contains("Broker"));
    planted("ingest", "sqlx", true);
    planted("worker", "sqlx", false);
    planted("handlers", "axum", true);
    assert!(planted("driver", "tokio-util", true).contains("no runtime"));
    planted("signature", "tokio", false);
}

#[test]
fn a_crate_without_a_layer_is_found() {
    assert_eq!(check(&["newcomer".to_owned()], &[]).len(), 1);
}

#[test]
fn what_is_allowed_passes() {
    assert_eq!(found("worker", "driver-sqlite", true), []);
    assert_eq!(found("driver-postgres", "driver-postgres", true), []);
    assert_eq!(found("handlers", "sqlx", false), []);
    assert_eq!(found("hookbox", "ingest", false), []);
    assert_eq!(found("tests", "hookbox", true), []);
    assert_eq!(found("worker", "tokio", false), []);
}

/// docs/ARCHITECTURE.md is written by hand, so this test compares its table of the crates with
/// `LAYERS`.
#[test]
fn the_architecture_page_has_the_same_table() -> Result<()> {
    let page = repository::read("docs/ARCHITECTURE.md").context("docs/ARCHITECTURE.md")?;
    for layer in LAYERS {
        let begins = format!("| `{}` |", layer.package);
        let row = page.lines().find(|line| line.starts_with(&begins));
        let row = row.with_context(|| format!("docs/ARCHITECTURE.md has no row {begins}"))?;
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        let uses = if layer.uses.is_empty() {
            "nothing".to_owned()
        } else if layer.uses == ALL {
            "all that ships".to_owned()
        } else if layer.uses == EVERYTHING {
            "all of it".to_owned()
        } else {
            layer.uses.join(", ")
        };
        assert_eq!(cells.last(), Some(&uses.as_str()), "{begins}");
    }
    Ok(())
}
