//! Refusals by a server that is reachable, such as a wrong password or a missing right, each with
//! the statement that fixes it.
//!
//! The kind of refusal is determined by the error's code alone, because the server's text may be in
//! any language.

use std::fmt;

/// The schema in which PostgreSQL creates tables by default.
const PUBLIC: &str = "public";

/// The names of the role, the database and the schema of a connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Names {
    pub role: String,
    pub database: String,
    /// The schema that has hookbox's tables, or in which they would be created; `None` before the
    /// server was asked, and if the `search_path` names no schema that the role may use.
    pub schema: Option<String>,
}

impl Names {
    /// Returns the name of the schema for an SQL statement.
    fn schema(&self) -> String {
        quoted(self.schema.as_deref().unwrap_or(PUBLIC))
    }

    /// Returns the name of one of hookbox's tables for an SQL statement that an operator runs. The
    /// session of the operator finds tables without their schema only in the schema `public`.
    fn table(&self, table: &str) -> String {
        match self.schema.as_deref() {
            None | Some(PUBLIC) => table.to_owned(),
            Some(schema) => format!("{}.{table}", quoted(schema)),
        }
    }
}

/// What hookbox was doing when the server refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Connecting to the server.
    Connect,
    /// Creating the schema.
    Migrate,
    /// Running an ordinary statement, with a role that may use the schema but need not be able to
    /// change it.
    Use,
}

/// Why a server refuses to work for hookbox until an operator fixes the cause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub why: String,
    pub remedy: String,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}; {}", self.why, self.remedy)
    }
}

/// Returns the refusal for an error's code; `None` when the code means no refusal. Too many
/// connections, a server that is starting or stopping, and similar errors end by themselves, so
/// they do not count as refusals.
pub(crate) fn of_code(code: &str, stage: Stage, names: &Names) -> Option<Refusal> {
    let (role, database) = (quoted(&names.role), quoted(&names.database));
    let schema = names.schema();
    let (why, remedy) = match (code, stage) {
        // invalid_password
        ("28P01", _) => (
            format!(
                "PostgreSQL does not accept the password of role {role}, or there is no such role"
            ),
            format!(
                "correct the URL, or: ALTER ROLE {role} PASSWORD '...' (CREATE ROLE {role} LOGIN \
                 PASSWORD '...' where there is none)"
            ),
        ),
        // invalid_authorization_specification
        ("28000", _) => (
            format!(
                "PostgreSQL does not let role {role} log in from here: the role does not exist, \
                 has no LOGIN, or has no line in pg_hba.conf"
            ),
            format!(
                "CREATE ROLE {role} LOGIN PASSWORD '...' (or ALTER ROLE {role} LOGIN), and check \
                 pg_hba.conf"
            ),
        ),
        // invalid_catalog_name
        ("3D000", _) => (
            format!("database {database} does not exist"),
            format!("CREATE DATABASE {database} OWNER {role} ENCODING 'UTF8' TEMPLATE template0"),
        ),
        // insufficient_privilege
        ("42501", Stage::Connect) => (
            format!("role {role} may not connect to database {database}"),
            format!("GRANT CONNECT ON DATABASE {database} TO {role}"),
        ),
        ("42501", Stage::Migrate) => (
            format!("role {role} lacks a right that the migration needs"),
            format!(
                "run `hookbox migrate` as the owner of the tables and of the schema, or GRANT \
                 CREATE ON SCHEMA {schema} TO {role}"
            ),
        ),
        ("42501", Stage::Use) => (
            format!("role {role} lacks a right on hookbox's tables"),
            format!(
                "GRANT USAGE ON SCHEMA {schema} TO {role}; GRANT SELECT, INSERT, UPDATE, DELETE ON \
                 ALL TABLES IN SCHEMA {schema} TO {role}"
            ),
        ),
        _ => return None,
    };
    Some(Refusal { why, remedy })
}

/// Returns the refusal for a role that may not create tables in the schema that its `search_path`
/// selects.
pub(crate) fn no_create(schema: Option<&str>, names: &Names) -> Refusal {
    let role = quoted(&names.role);
    match schema {
        Some(schema) => {
            let schema = quoted(schema);
            Refusal {
                why: format!("role {role} may not create tables in schema {schema}"),
                remedy: format!("GRANT CREATE ON SCHEMA {schema} TO {role}"),
            }
        }
        None => Refusal {
            why: format!("role {role} has no schema: its search_path names none that exists"),
            remedy: format!("CREATE SCHEMA {role} AUTHORIZATION {role}, or set its search_path"),
        },
    }
}

/// Returns the refusal for a role without USAGE on these schemas of its `search_path`.
pub(crate) fn no_usage(schemas: &[String], names: &Names) -> Refusal {
    let role = quoted(&names.role);
    let schemas: Vec<String> = schemas.iter().map(|schema| quoted(schema)).collect();
    let schemas = schemas.join(", ");
    Refusal {
        why: format!(
            "role {role} may not use the schema {schemas} of its search_path, so it sees no table \
             in it"
        ),
        remedy: format!("GRANT USAGE ON SCHEMA {schemas} TO {role}"),
    }
}

/// Returns the refusal for a migration by `role` if this role does not own all of hookbox's tables.
/// `owners` has each table with its owner. The owner of the first table, which is the table of the
/// migrations, should own all of them.
pub(crate) fn other_owner(
    owners: &[(String, String)],
    role: &str,
    names: &Names,
) -> Option<Refusal> {
    let (first, owner) = owners.first()?;
    let strays: Vec<_> = owners.iter().filter(|(_, of)| of != owner).collect();
    if strays.is_empty() && role == owner {
        return None;
    }
    let (to, by) = (quoted(owner), quoted(role));
    let why = match strays.first() {
        Some((table, other)) => format!(
            "hookbox's tables belong to different roles: {table} to {}, and {first} to {to}",
            quoted(other)
        ),
        None => format!(
            "hookbox's tables belong to role {to}; the migration would make role {by} the owner of \
             the tables that it creates, and {to} would have no right on them"
        ),
    };
    let give = strays
        .iter()
        .map(|(table, _)| format!("ALTER TABLE {} OWNER TO {to}", names.table(table)));
    let mut steps: Vec<String> = give.collect();
    if role != owner {
        let database = quoted(&names.database);
        steps.push(format!(
            "run `hookbox migrate` as role {to}: name it in the URL, or ALTER ROLE {by} IN \
             DATABASE {database} SET role = {to}"
        ));
    }
    Some(Refusal {
        why,
        remedy: steps.join("; "),
    })
}

/// Returns the refusal for a role that lacks rights on tables. `missing` has each table with the
/// rights, such as `SELECT, INSERT`.
pub(crate) fn missing_rights(missing: &[(String, String)], names: &Names) -> Refusal {
    let role = quoted(&names.role);
    let grants = missing
        .iter()
        .map(|(table, rights)| format!("GRANT {rights} ON {} TO {role}", names.table(table)));
    Refusal {
        why: format!("role {role} lacks rights on hookbox's tables"),
        remedy: grants.collect::<Vec<_>>().join("; "),
    }
}

/// Quotes an identifier for use in an SQL statement, if PostgreSQL requires quotes for it.
fn quoted(name: &str) -> String {
    let starts = |c: char| c.is_ascii_lowercase() || c == '_';
    let continues = |c: char| starts(c) || c.is_ascii_digit();
    if name.starts_with(starts) && name.chars().all(continues) {
        return name.to_owned();
    }
    let name = name.replace('"', "\"\"");
    format!("\"{}\"", hookbox_driver::storable(&name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> Names {
        Names {
            role: "hookbox".to_owned(),
            database: "in-box".to_owned(),
            schema: None,
        }
    }

    #[test]
    fn each_refusal_names_the_statement_that_ends_it() {
        use Stage::{Connect, Migrate, Use};
        for (code, stage, remedy) in [
            ("28P01", Connect, "ALTER ROLE hookbox PASSWORD"),
            ("28000", Connect, "CREATE ROLE hookbox LOGIN"),
            (
                "3D000",
                Connect,
                "CREATE DATABASE \"in-box\" OWNER hookbox ENCODING 'UTF8'",
            ),
            (
                "42501",
                Connect,
                "GRANT CONNECT ON DATABASE \"in-box\" TO hookbox",
            ),
            ("42501", Migrate, "GRANT CREATE ON SCHEMA public TO hookbox"),
            (
                "42501",
                Use,
                "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES",
            ),
        ] {
            let refusal = of_code(code, stage, &names()).expect(code);
            assert!(refusal.remedy.contains(remedy), "{code}: {refusal}");
        }
    }

    #[test]
    fn what_ends_by_itself_is_no_refusal() {
        for code in [
            "53300", "57P03", "57P01", "08006", "40001", "25006", "XX000", "42P01",
        ] {
            for stage in [Stage::Connect, Stage::Migrate, Stage::Use] {
                assert_eq!(of_code(code, stage, &names()), None, "{code}");
            }
        }
    }

    #[test]
    fn names_are_quoted_where_they_need_it() {
        for (name, expect) in [
            ("hookbox", "hookbox"),
            ("hook_box1", "hook_box1"),
            ("Hookbox", "\"Hookbox\""),
            ("1st", "\"1st\""),
            ("", "\"\""),
            ("a\"; drop", "\"a\"\"; drop\""),
            ("a\u{1b}b", "\"a\\u{1b}b\""),
        ] {
            assert_eq!(quoted(name), expect);
        }
    }

    #[test]
    fn a_migration_by_another_role_than_the_owner_is_refused() {
        let as_owner = "run `hookbox migrate` as role hookbox: name it in the URL, or ALTER ROLE \
                        postgres IN DATABASE \"in-box\" SET role = hookbox";
        let give = "ALTER TABLE audit OWNER TO hookbox";
        let both = format!("{give}; {as_owner}");
        for (owner_of_audit, role, expect) in [
            ("hookbox", "hookbox", None),
            ("hookbox", "postgres", Some(as_owner)),
            ("postgres", "hookbox", Some(give)),
            ("postgres", "postgres", Some(&*both)),
        ] {
            let owners = [("_sqlx_migrations", "hookbox"), ("audit", owner_of_audit)];
            let owners = owners.map(|(table, owner)| (table.to_owned(), owner.to_owned()));
            let refusal = other_owner(&owners, role, &names());
            let remedy = refusal.as_ref().map(|refusal| &*refusal.remedy);
            assert_eq!(remedy, expect, "{owner_of_audit}, {role}");
        }
        assert_eq!(other_owner(&[], "postgres", &names()), None);
    }

    #[test]
    fn rights_and_schemas_are_named() {
        let rights = [("meta", "SELECT"), ("events", "INSERT")];
        let rights = rights.map(|(table, rights)| (table.to_owned(), rights.to_owned()));
        let refusal = missing_rights(&rights, &names());
        let grants = "GRANT SELECT ON meta TO hookbox; GRANT INSERT ON events TO hookbox";
        assert_eq!(refusal.remedy, grants);
        let refusal = no_create(Some("public"), &names());
        assert_eq!(refusal.remedy, "GRANT CREATE ON SCHEMA public TO hookbox");
        let refusal = no_create(None, &names());
        assert!(
            refusal.remedy.starts_with("CREATE SCHEMA hookbox"),
            "{refusal}"
        );
    }

    #[test]
    fn a_schema_of_its_own_is_in_every_remedy() {
        let names = Names {
            schema: Some("In".to_owned()),
            ..names()
        };
        let rights = [("meta".to_owned(), "SELECT".to_owned())];
        let owners = [("_sqlx_migrations", "hookbox"), ("meta", "postgres")];
        let owners = owners.map(|(table, owner)| (table.to_owned(), owner.to_owned()));
        let of_code = |stage| of_code("42501", stage, &names).map(|refusal| refusal.remedy);
        for (remedy, expect) in [
            (
                of_code(Stage::Use),
                "GRANT USAGE ON SCHEMA \"In\" TO hookbox; GRANT SELECT, INSERT, UPDATE, DELETE ON \
                 ALL TABLES IN SCHEMA \"In\" TO hookbox",
            ),
            (
                of_code(Stage::Migrate),
                "run `hookbox migrate` as the owner of the tables and of the schema, or GRANT \
                 CREATE ON SCHEMA \"In\" TO hookbox",
            ),
            (
                Some(missing_rights(&rights, &names).remedy),
                "GRANT SELECT ON \"In\".meta TO hookbox",
            ),
            (
                Some(no_usage(&["In".to_owned()], &names).remedy),
                "GRANT USAGE ON SCHEMA \"In\" TO hookbox",
            ),
            (
                other_owner(&owners, "hookbox", &names).map(|refusal| refusal.remedy),
                "ALTER TABLE \"In\".meta OWNER TO hookbox",
            ),
        ] {
            assert_eq!(remedy.as_deref(), Some(expect));
        }
    }
}
