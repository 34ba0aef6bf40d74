//! Finds the names of hookbox's tables in the text of its migrations. The names distinguish
//! hookbox's tables from a user's tables in the same database.

use crate::KnownMigration;

/// The table in which sqlx records the migrations. sqlx creates this table itself.
const MIGRATIONS: &str = "_sqlx_migrations";

/// Returns the names of hookbox's tables after all migrations, in lower case. A table that a later
/// migration drops or renames is not among them.
pub fn own_tables(known: &[KnownMigration<'_>]) -> Vec<String> {
    let mut tables = vec![MIGRATIONS.to_owned()];
    for migration in known {
        let lines = migration.sql.lines();
        let code: Vec<&str> = lines
            .map(|line| line.split_once("--").map_or(line, |(code, _)| code))
            .collect();
        for statement in code.join(" ").to_lowercase().split(';') {
            apply(statement, &mut tables);
        }
    }
    tables
}

/// Applies one statement, in lower case, to the list of tables. Hookbox's migrations write names
/// without quotes.
fn apply(statement: &str, tables: &mut Vec<String>) {
    let words = statement.split(|one: char| one.is_whitespace() || one == '(');
    let words = words.filter(|word| !["", "if", "not", "exists"].contains(word));
    let words: Vec<&str> = words.take(5).collect();
    match words[..] {
        ["create", "table", name, ..] => tables.push(name.to_owned()),
        ["drop", "table", name, ..] => tables.retain(|one| one != name),
        ["alter", "table", name, "rename", "to"] => {
            let to = statement.split_whitespace().last().unwrap_or(name);
            tables.retain(|one| one != name);
            tables.push(to.to_owned());
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(version: i64, sql: &str) -> KnownMigration<'_> {
        KnownMigration {
            version,
            description: "",
            sql,
        }
    }

    #[test]
    fn a_table_is_known_by_its_last_name() {
        let known = [
            migration(
                1,
                "-- create table no (x)\nCREATE TABLE events (\n id TEXT);\n\
                 create table if not exists gone(n integer);\ncreate index i on events (id);",
            ),
            migration(
                2,
                "create table new_events (id text);\ndrop table events;\n\
                 alter table new_events rename to events;\n\
                 alter table events rename constraint a to b;\n\
                 alter table events rename column id to event_id;\n\
                 drop table if exists gone;\n\
                 create view shown as select 1;\n\
                 create trigger t after insert on events begin insert into events values (1); end;",
            ),
        ];
        assert_eq!(own_tables(&known), ["_sqlx_migrations", "events"]);
    }
}
