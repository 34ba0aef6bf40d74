//! Checks that the drivers of the two stores have files of the same names, and that functions of
//! the same name have the same order in them. So people can read and change the two drivers side by
//! side.

use std::collections::BTreeSet;

use crate::finding::Finding;

/// The folders of the two drivers.
pub(super) const FOLDERS: [&str; 2] = ["crates/driver-postgres/src", "crates/driver-sqlite/src"];

/// The files that only one of the drivers has, each with the reason.
const ALONE: [(&str, &str); 8] = [
    (
        "crates/driver-postgres/src/canaries.rs",
        "hazards of the database client that only the PostgreSQL driver avoids",
    ),
    (
        "crates/driver-postgres/src/server.rs",
        "connections, sessions and rights of a server, which the SQLite store does not have",
    ),
    (
        "crates/driver-postgres/src/testing.rs",
        "makes a private database for tests of other crates; with SQLite, they name a new file",
    ),
    (
        "crates/driver-sqlite/src/broker.rs",
        "the broker in a SQLite file; a deployment with PostgreSQL has RabbitMQ as its broker",
    ),
    (
        "crates/driver-sqlite/src/conditions.rs",
        "builds statements: SQLite uses an index only for conditions that the statement contains",
    ),
    (
        "crates/driver-sqlite/src/file.rs",
        "the file, its disk and its connections; the PostgreSQL driver has `server.rs` instead",
    ),
    (
        "crates/driver-sqlite/src/moment.rs",
        "the store's clock: PostgreSQL's is the `now()` of its statements",
    ),
    (
        "crates/driver-sqlite/src/tests.rs",
        "tests that need no server, so they are unit tests",
    ),
];

/// Checks the paths of all files of the two drivers.
pub(super) fn check_files(postgres: &[String], sqlite: &[String]) -> Vec<Finding> {
    let [of_postgres, of_sqlite] = FOLDERS;
    let mut findings = Vec::new();
    for (folder, paths, other, others) in [
        (of_postgres, postgres, of_sqlite, sqlite),
        (of_sqlite, sqlite, of_postgres, postgres),
    ] {
        let names = top_level(folder, paths);
        for name in names.difference(&top_level(other, others)) {
            let path = format!("{folder}/{name}");
            if !ALONE.iter().any(|(alone, _)| *alone == path) {
                let what = format!(
                    "{other}/{name} is missing: both drivers must have the same files; put what \
                     only one of them needs into a folder (`server`, `file`, `broker`)"
                );
                findings.push(Finding::new(&path, 1, what));
            }
        }
        for (path, _) in ALONE {
            if let Some(name) = path.strip_prefix(&format!("{folder}/"))
                && (!names.contains(name) || top_level(other, others).contains(name))
            {
                let what = "crates/xtask/src/tidy/twins.rs lists this file as one that only one \
                            driver has, but both drivers have it or neither has it";
                findings.push(Finding::new(path, 1, what));
            }
        }
    }
    findings
}

/// Returns the names of the Rust files in the folder itself, in the order of the alphabet.
fn top_level<'p>(folder: &str, paths: &'p [String]) -> BTreeSet<&'p str> {
    let names = paths
        .iter()
        .filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/'));
    names
        .filter(|name| name.ends_with(".rs") && !name.contains('/'))
        .collect()
}

/// Checks the texts of two files of the same name: functions of the same name come in the same
/// order. The finding names the first function of the second file that is out of order.
pub(super) fn check_order(first: (&str, &str), second: (&str, &str)) -> Option<Finding> {
    let (functions, others) = (functions(first.1), functions(second.1));
    let common = |of: &[(usize, String)], in_: &[(usize, String)]| -> Vec<(usize, String)> {
        let is_common = |name: &String| in_.iter().any(|(_, other)| other == name);
        let common = of.iter().filter(|(_, name)| is_common(name));
        common.cloned().collect()
    };
    let (wanted, found) = (common(&functions, &others), common(&others, &functions));
    let mut pairs = wanted.iter().zip(&found);
    let ((_, wanted), (line, found)) = pairs.find(|((_, a), (_, b))| a != b)?;
    let what = format!(
        "`{found}` stands where `{wanted}` is expected: put the functions in the order of those in \
         {}",
        first.0
    );
    Some(Finding::new(second.0, *line, what))
}

/// Returns the functions of a file that other files may use (`pub`, `pub(crate)`), each with its
/// line.
fn functions(text: &str) -> Vec<(usize, String)> {
    let lines = text.lines().enumerate();
    let named = lines.filter_map(|(at, line)| {
        let rest = line
            .strip_prefix("pub(crate) ")
            .or(line.strip_prefix("pub "))?;
        let rest = rest.strip_prefix("async ").unwrap_or(rest);
        let name = rest.strip_prefix("fn ")?;
        let end = name.find(['(', '<'])?;
        Some((at + 1, name[..end].to_owned()))
    });
    named.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(folder: &str, names: &[&str]) -> Vec<String> {
        let path = |name: &&str| format!("{folder}/{name}");
        names.iter().map(path).collect()
    }

    fn found(postgres: &[&str], sqlite: &[&str]) -> Vec<String> {
        let [of_postgres, of_sqlite] = FOLDERS;
        let postgres = [postgres, &["canaries.rs", "server.rs", "testing.rs"]].concat();
        let alone = [
            "broker.rs",
            "conditions.rs",
            "file.rs",
            "moment.rs",
            "tests.rs",
        ];
        let sqlite = [sqlite, &alone].concat();
        let findings = check_files(&paths(of_postgres, &postgres), &paths(of_sqlite, &sqlite));
        findings.into_iter().map(|it| it.path).collect()
    }

    #[test]
    fn equal_folders_pass_and_planted_differences_are_found() {
        let same = ["claims.rs", "store.rs"];
        assert_eq!(found(&same, &same), [""; 0]);
        assert_eq!(
            found(&["a.rs", "server/b.rs"], &["a.rs", "file/c.rs"]),
            [""; 0]
        );
        assert_eq!(
            found(&["a.rs", "b.rs"], &["a.rs", "c.rs"]),
            [
                "crates/driver-postgres/src/b.rs",
                "crates/driver-sqlite/src/c.rs"
            ]
        );
        // The other driver has a file that is listed as one that only this driver has.
        assert_eq!(
            found(&["moment.rs"], &[]),
            ["crates/driver-sqlite/src/moment.rs"]
        );
    }

    #[test]
    fn functions_of_the_same_name_are_in_the_same_order() {
        let first = (
            "a.rs",
            "pub(crate) fn put(\npub(crate) async fn get(c: i64)\n",
        );
        let order = |text: &str| check_order(first, ("b.rs", text)).map(|it| it.to_string());
        assert_eq!(
            order("pub(crate) async fn put<'a>(\nfn other()\npub fn get("),
            None
        );
        assert_eq!(order("pub(crate) fn get("), None);
        let other = order("pub(crate) fn more()\npub(crate) fn get()\npub(crate) fn put(");
        assert!(other.is_some_and(|it| it.starts_with("b.rs:2: `get` stands where `put`")));
    }
}
