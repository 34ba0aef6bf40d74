//! Checks that both stores have the same migrations, with equal names and consecutive numbers.

use std::collections::BTreeSet;

use crate::finding::Finding;

pub(super) fn check(postgres: &[String], sqlite: &[String]) -> Vec<Finding> {
    let names = |paths: &[String]| -> BTreeSet<String> {
        paths
            .iter()
            .filter_map(|path| Some(path.rsplit_once('/')?.1.to_owned()))
            .collect()
    };
    let mut findings = Vec::new();
    for (paths, others, other) in [
        (postgres, names(sqlite), "sqlite"),
        (sqlite, names(postgres), "postgres"),
    ] {
        for path in paths {
            let name = path.rsplit('/').next().unwrap_or(path);
            if !others.contains(name) {
                let what = format!(
                    "migrations/{other}/{name} is missing: both stores have the same migrations"
                );
                findings.push(Finding::new(path, 1, what));
            }
        }
        for (place, name) in names(paths).iter().enumerate() {
            let path = paths
                .iter()
                .find(|path| path.ends_with(name))
                .map_or("", String::as_str);
            findings.extend(numbered(path, name, place + 1));
        }
    }
    findings
}

fn numbered(path: &str, name: &str, number: usize) -> Option<Finding> {
    let begins = name.starts_with(&format!("{number:04}_"));
    let what = format!("expected `{number:04}_<name>.sql` here: the numbers must have no gaps");
    (!begins || !name.ends_with(".sql")).then(|| Finding::new(path, 1, what))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(postgres: &[&str], sqlite: &[&str]) -> Vec<String> {
        let paths = |engine: &str, names: &[&str]| -> Vec<String> {
            names
                .iter()
                .map(|name| format!("migrations/{engine}/{name}"))
                .collect()
        };
        let findings = check(&paths("postgres", postgres), &paths("sqlite", sqlite));
        findings
            .into_iter()
            .map(|it| format!("{} {}", it.path, it.what))
            .collect()
    }

    #[test]
    fn pairs_pass_and_planted_breaches_are_found() {
        assert_eq!(
            found(&["0001_a.sql", "0002_b.sql"], &["0001_a.sql", "0002_b.sql"]),
            [""; 0]
        );
        let missing = found(&["0001_a.sql", "0002_b.sql"], &["0001_a.sql"]);
        assert_eq!(missing.len(), 1);
        assert!(missing[0].contains("migrations/sqlite/0002_b.sql is missing"));
        assert_eq!(found(&["0001_a.sql"], &["0001_b.sql"]).len(), 2);
        assert_eq!(found(&["0002_a.sql"], &["0002_a.sql"]).len(), 2);
        assert_eq!(found(&["0001_a.txt"], &["0001_a.txt"]).len(), 2);
    }
}
