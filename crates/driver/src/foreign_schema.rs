//! Detects tables, views and indexes of another program in the schema that hookbox's store is to
//! use. All databases use this same rule.
//!
//! Before a driver migrates, it reads the rows of `_sqlx_migrations` and the names of all tables,
//! views and indexes of the schema. This changes nothing. The driver passes what it has read to
//! [`foreign_schema`]. The result becomes the `why` of [`crate::OpenError::Refused`], to which the
//! driver adds the remedy ("give hookbox a database of its own"). This check must also run before
//! schema versions are compared, because the version of another program's migrations means nothing
//! to hookbox.

use std::fmt;

/// The largest number of tables, views and indexes that an error names.
const LISTED_MAX: usize = 10;

/// An error repeats the description of another program's migration up to this number of characters.
const DESCRIPTION_MAX: usize = 80;

/// One of hookbox's own migrations.
#[derive(Debug, Clone, Copy)]
pub struct KnownMigration<'a> {
    /// The number of the migration.
    pub version: i64,
    /// The migration's name, as sqlx stores it.
    pub description: &'a str,
    /// The SQL statements of the migration.
    pub sql: &'a str,
}

/// One row of `_sqlx_migrations`: a migration that has run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// The number of the migration.
    pub version: i64,
    /// The migration's name, as the program that ran it has stored it.
    pub description: String,
}

/// The reason why hookbox cannot use a schema.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ForeignSchema {
    /// `_sqlx_migrations` lists a migration that is not one of hookbox's.
    Migration(AppliedMigration),
    /// Tables, views or indexes with these names exist already, and a migration of hookbox that has
    /// not run yet would create them.
    Objects(Vec<String>),
}

/// Compares a schema with hookbox's migrations. Returns `None` when hookbox can use it.
///
/// A migration in `applied` is hookbox's own if `known` has a migration with the same number and
/// the same description. If `known` has the number with another description, the migration belongs
/// to another program. If at least one migration is hookbox's own, those with a higher number than
/// all in `known` belong to a newer hookbox. `present` has the names of all tables, views and
/// indexes, in lower case if the database ignores the case of names.
pub fn foreign_schema(
    known: &[KnownMigration<'_>],
    applied: &[AppliedMigration],
    present: &[String],
) -> Option<ForeignSchema> {
    let is_ours = |row: &AppliedMigration| {
        let own = known.iter().find(|one| one.version == row.version);
        own.map(|own| own.description == row.description)
    };
    let newest = known.iter().map(|one| one.version).max().unwrap_or(0);
    let foreign = applied.iter().find(|row| match is_ours(row) {
        Some(ours) => !ours,
        // Hookbox numbers its migrations without gaps. An unknown number below hookbox's newest
        // therefore belongs to another program.
        None => row.version < newest,
    });
    let foreign = foreign.or_else(|| {
        let none_ours = applied.iter().all(|row| is_ours(row).is_none());
        applied.first().filter(|_| none_ours)
    });
    if let Some(foreign) = foreign {
        return Some(ForeignSchema::Migration(foreign.clone()));
    }
    let ours = created(known, applied, true);
    // A pending migration may replace a table of an earlier one by a table of the same name. Such a
    // table is not in the way.
    let in_the_way: Vec<String> = created(known, applied, false)
        .into_iter()
        .filter(|name| present.contains(name) && !ours.contains(name))
        .collect();
    (!in_the_way.is_empty()).then_some(ForeignSchema::Objects(in_the_way))
}

/// Returns the names of tables, views and indexes that pending migrations replace: a migration that
/// has run created them, and a pending one creates them again, or drops a table of that name.
pub fn replaced(known: &[KnownMigration<'_>], applied: &[AppliedMigration]) -> Vec<String> {
    let has_run = |version: i64| applied.iter().any(|row| row.version == version);
    let pending = known.iter().filter(|one| !has_run(one.version));
    let dropped = pending.flat_map(|one| tables_dropped(one.sql));
    let ours = created(known, applied, true);
    let mut replaced = created(known, applied, false);
    replaced.extend(dropped);
    replaced.retain(|name| ours.contains(name));
    replaced.sort_unstable();
    replaced.dedup();
    replaced
}

/// Returns the names that migrations create: those that have run if `run` is true, or else the
/// pending ones.
fn created(known: &[KnownMigration<'_>], applied: &[AppliedMigration], run: bool) -> Vec<String> {
    let has_run = |version: i64| applied.iter().any(|row| row.version == version);
    let migrations = known.iter().filter(|one| has_run(one.version) == run);
    migrations.flat_map(|one| names_created(one.sql)).collect()
}

impl fmt::Display for ForeignSchema {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ForeignSchema::Migration(row) => {
                // The description was written by another program, so it is quoted and shortened.
                let shown: String = row.description.chars().take(DESCRIPTION_MAX).collect();
                write!(
                    f,
                    "the database belongs to another program: its table `_sqlx_migrations` lists \
                     migration {} as {shown:?}, which is not one of hookbox's",
                    row.version
                )
            }
            ForeignSchema::Objects(names) => {
                let shown: Vec<&str> = names.iter().take(LISTED_MAX).map(String::as_str).collect();
                write!(f, "the database already has {}", shown.join(", "))?;
                if names.len() > shown.len() {
                    write!(f, " and {} more", names.len() - shown.len())?;
                }
                f.write_str(", which hookbox did not create and would have to create")
            }
        }
    }
}

/// Returns the names of the tables, views and indexes that a migration creates. Hookbox's
/// migrations write them in lower case and without quotes.
fn names_created(sql: &str) -> Vec<String> {
    let code = without_comments(sql);
    let mut words = code
        .split(|c: char| c.is_whitespace() || c == '(' || c == ';')
        .filter(|word| !word.is_empty());
    let mut names = Vec::new();
    while let Some(word) = words.next() {
        if !word.eq_ignore_ascii_case("create") {
            continue;
        }
        let is = |word: &str, any: &[&str]| any.iter().any(|one| word.eq_ignore_ascii_case(one));
        let kind = words.by_ref().find(|word| !is(word, &["unique"]));
        if kind.is_none_or(|kind| !is(kind, &["table", "index", "view"])) {
            continue;
        }
        let name = words
            .by_ref()
            .find(|word| !is(word, &["if", "not", "exists", "concurrently"]));
        names.extend(name.map(str::to_owned));
    }
    names
}

/// Returns the names of the tables that a migration drops.
fn tables_dropped(sql: &str) -> Vec<String> {
    let code = without_comments(sql).to_lowercase();
    let dropped = code.split(';').filter_map(|statement| {
        let mut words = statement.split_whitespace();
        if (words.next(), words.next()) != (Some("drop"), Some("table")) {
            return None;
        }
        words.find(|word| !["if", "exists"].contains(word))
    });
    dropped.map(str::to_owned).collect()
}

/// Returns the statements of a migration on one line.
fn without_comments(sql: &str) -> String {
    let code: Vec<&str> = sql
        .lines()
        .map(|line| line.split_once("--").map_or(line, |(code, _)| code))
        .collect();
    code.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const KNOWN: [KnownMigration<'_>; 3] = [
        KnownMigration {
            version: 1,
            description: "core",
            sql: "-- create table no (x)\nCREATE TABLE meta (\n key TEXT);\n\
                  CREATE UNIQUE INDEX meta_key ON meta (key);",
        },
        KnownMigration {
            version: 2,
            description: "accounts",
            sql: "create table if not exists accounts(n integer);",
        },
        KnownMigration {
            version: 3,
            description: "replace",
            sql: "drop table meta; create table meta (key text); create index later on meta (key);",
        },
    ];

    fn applied(rows: &[(i64, &str)]) -> Vec<AppliedMigration> {
        let row = |(version, description): &(i64, &str)| AppliedMigration {
            version: *version,
            description: (*description).to_owned(),
        };
        rows.iter().map(row).collect()
    }

    fn found(rows: &[(i64, &str)], present: &[&str]) -> Option<ForeignSchema> {
        let present: Vec<String> = present.iter().map(|name| (*name).to_owned()).collect();
        foreign_schema(&KNOWN, &applied(rows), &present)
    }

    #[test]
    fn names_are_read_from_the_statements() {
        assert_eq!(names_created(KNOWN[0].sql), ["meta", "meta_key"]);
        assert_eq!(names_created(KNOWN[1].sql), ["accounts"]);
        assert_eq!(names_created("create type t as enum ()"), [""; 0]);
    }

    #[test]
    fn what_is_ours_is_not_in_the_way() {
        assert_eq!(found(&[], &[]), None);
        assert_eq!(found(&[], &["customers"]), None);
        let core = ["meta", "meta_key"];
        assert_eq!(found(&[(1, "core")], &core), None);
        let all = ["meta", "meta_key", "accounts"];
        assert_eq!(found(&[(1, "core"), (2, "accounts")], &all), None);
        // These are the migrations of a newer hookbox.
        let newer = [(1, "core"), (2, "accounts"), (3, "replace"), (4, "later")];
        assert_eq!(found(&newer, &all), None);
    }

    #[test]
    fn a_table_of_a_pending_migration_is_replaced() {
        let core = [(1, "core"), (2, "accounts")];
        assert_eq!(replaced(&KNOWN, &applied(&core)), ["meta"]);
        assert_eq!(found(&core, &["meta", "meta_key", "accounts"]), None);
        assert_eq!(replaced(&KNOWN, &applied(&[])), [""; 0]);
    }

    #[test]
    fn a_table_that_gets_the_name_of_a_dropped_one_replaces_it() {
        let renames = KnownMigration {
            version: 4,
            description: "rename",
            sql: "-- drop table accounts;\ncreate table new_meta (key text);\n\
                  DROP TABLE IF EXISTS meta;\nalter table new_meta rename to meta;\n\
                  drop table another;",
        };
        let known = [KNOWN[0], KNOWN[1], renames];
        let core = [(1, "core"), (2, "accounts")];
        assert_eq!(replaced(&known, &applied(&core)), ["meta"]);
        let all = [(1, "core"), (2, "accounts"), (4, "rename")];
        assert_eq!(replaced(&known, &applied(&all)), [""; 0]);
        assert_eq!(replaced(&known, &applied(&[])), [""; 0]);
    }

    #[test]
    fn another_programs_migrations_are_named() {
        for rows in [
            &[(1, "create users")][..],
            &[(1, "core"), (2, "orders")],
            &[(20_240_101_000_000, "init")],
            &[(0, "zero"), (1, "core")],
        ] {
            let found = found(rows, &["accounts"]);
            assert!(
                matches!(found, Some(ForeignSchema::Migration(_))),
                "{rows:?}"
            );
        }
        let text = found(&[(1, "a\u{1b}[2J")], &[]).map(|found| found.to_string());
        let expect = "the database belongs to another program: its table `_sqlx_migrations` lists \
                      migration 1 as \"a\\u{1b}[2J\", which is not one of hookbox's";
        assert_eq!(text.as_deref(), Some(expect));
    }

    #[test]
    fn tables_of_a_pending_migration_are_in_the_way() {
        let names = |names: &[&str]| {
            let names = names.iter().map(|name| (*name).to_owned());
            Some(ForeignSchema::Objects(names.collect()))
        };
        assert_eq!(found(&[], &["accounts", "x"]), names(&["accounts"]));
        assert_eq!(
            found(&[(1, "core")], &["meta", "meta_key", "accounts"]),
            names(&["accounts"])
        );
        let text = names(&["accounts", "meta"]).map(|found| found.to_string());
        assert_eq!(
            text.as_deref(),
            Some(
                "the database already has accounts, meta, which hookbox did not create and would \
                 have to create"
            )
        );
    }
}
