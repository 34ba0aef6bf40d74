//! Remedies for operators when the database denies a handler access to something. The server's
//! error text is only shown; the error's code decides which remedy applies.

use std::error::Error;

use hookbox_driver::{Fault, UserStatement, causes, own_tables};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgErrorPosition};

use crate::migrate;

/// The largest number of characters of the server's text that a remedy shows.
const TEXT_MAX: usize = 200;

/// The SQLSTATE insufficient_privilege, with which the server denies access.
const DENIED: &str = "42501";

/// For the first database error in the chain of causes, returns what is missing, and the statement
/// that fixes it where that is known. Returns `None` when the chain has no database error. `role`
/// is the role of hookbox's connections.
pub(crate) fn remedy(error: &(dyn Error + 'static), role: &str) -> Option<String> {
    let database = causes(error).find_map(|error| {
        let of_sqlx = error.downcast_ref::<sqlx::Error>();
        of_sqlx
            .and_then(sqlx::Error::as_database_error)
            .or_else(|| Some(&**error.downcast_ref::<Box<dyn DatabaseError>>()?))
    });
    let of_user = Fault::statement_of(error);
    let text = of_database(database?, role, of_user)?;
    Some(match of_user {
        Some(UserStatement { place, .. }) => format!("{place}: {text}"),
        None => text,
    })
}

fn of_database(
    error: &dyn DatabaseError,
    role: &str,
    of_user: Option<&UserStatement>,
) -> Option<String> {
    let code = error.code()?;
    if code == DENIED {
        return Some(match of_user {
            Some(UserStatement { role: switched, .. }) => {
                denied_to_user(error.message(), switched.as_deref().unwrap_or(role))
            }
            None => denied(error.message(), role),
        });
    }
    // The server's text is shown only for a statement in the config. A handler in a program may
    // write a value into the text of its statement, and the server's text may quote that value.
    if let Some(said) = of_user.and_then(|_| about_statement(error)) {
        return Some(format!(
            "the database says: {said}; correct the statement, or run the migrations of its tables"
        ));
    }
    let is_missing = ["42P01", "42703", "42883", "3F000"].contains(&&*code);
    Some(if is_missing {
        format!(
            "the database lacks a table, column, function or schema that the handler's statement \
             names (SQLSTATE {code}); run the migrations of the handler"
        )
    } else {
        format!(
            "the handler's statement does not fit the tables of the database (SQLSTATE {code}); \
             correct the statement, or run the migrations of the handler"
        )
    })
}

/// Returns the server's error text if it names only what the statement itself names. Returns `None`
/// if the text may contain a value, such as personal data. The text is safe when the server gives a
/// position in the statement and no context. An error at run time, as of `$1::regclass`, has no
/// position. An error inside a function has the function as its context.
fn about_statement(error: &dyn DatabaseError) -> Option<String> {
    let error = error.try_downcast_ref::<PgDatabaseError>()?;
    let code = error.code();
    let is_in_statement = match error.position() {
        Some(PgErrorPosition::Original(_)) => error.r#where().is_none(),
        Some(PgErrorPosition::Internal { .. }) | None => false,
    };
    if !is_in_statement || !(code.starts_with("42") || code == "3F000") {
        return None;
    }
    let said: String = error.message().chars().take(TEXT_MAX).collect();
    Some(shown(&said))
}

/// Returns the remedy for a handler that is part of a program. Such a handler may switch to another
/// role, which then needs the right in place of hookbox's role.
fn denied(message: &str, role: &str) -> String {
    let said: String = message.chars().take(TEXT_MAX).collect();
    let grant = match said.strip_prefix("permission denied to set role ") {
        // The server's text has the name in quotes.
        Some(other) => format!("GRANT {other} TO {}", quoted(role)),
        None => format!(
            "{} (or TO the role that the handler switches to)",
            grant(&said, role)
        ),
    };
    format!("the server says: {}; run: {}", shown(&said), shown(&grant))
}

/// Returns the remedy for a statement that a user wrote and that ran under this role. The server
/// names a table without its schema, so a table with the name of one of hookbox's tables may be the
/// user's own.
fn denied_to_user(message: &str, role: &str) -> String {
    let said: String = message.chars().take(TEXT_MAX).collect();
    let own = own_tables(&migrate::known());
    let what = match object(&said) {
        Some(("table", name)) if own.iter().any(|own| own == name) => format!(
            "the statement must not touch the table {name} of hookbox; if it means a table of your \
             own, write the table with its schema, and GRANT the role {} the right on it",
            quoted(role)
        ),
        Some((kind, _)) if kind != "schema" => {
            format!(
                "run: {}, with the schema before the name",
                grant(&said, role)
            )
        }
        Some(_) | None => format!("run: {}", grant(&said, role)),
    };
    format!("the server says: {}; {}", shown(&said), shown(&what))
}

/// Returns the `GRANT` that matches the server's text, if that text is in English. It grants all
/// rights on the object, of which a handler may need fewer.
fn grant(message: &str, role: &str) -> String {
    let right = object(message).and_then(|(kind, name)| Some(format!("{} {name}", right(kind)?)));
    let right = right.as_deref().unwrap_or("the right that it names");
    format!("GRANT {right} TO {}", quoted(role))
}

/// Returns the kind and the name of the object that the server's text names, if it is in English.
fn object(message: &str) -> Option<(&str, &str)> {
    let what = message.strip_prefix("permission denied for ")?;
    what.rsplit_once(' ')
}

/// Returns all rights on a kind of object, in the form that `GRANT` takes; `None` for a kind that
/// hookbox does not know.
fn right(kind: &str) -> Option<&'static str> {
    let right = match kind {
        "table" | "view" | "materialized view" | "foreign table" | "relation" => {
            "SELECT, INSERT, UPDATE, DELETE ON"
        }
        "sequence" => "USAGE ON SEQUENCE",
        "schema" => "USAGE ON SCHEMA",
        "function" | "procedure" | "routine" => "EXECUTE ON ROUTINE",
        _ => return None,
    };
    Some(right)
}

fn quoted(role: &str) -> String {
    format!("\"{}\"", role.replace('"', "\"\""))
}

/// Returns untrusted text in a form that is safe to show.
fn shown(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            let escaped = c.is_control().then(|| c.escape_default());
            let plain = (!c.is_control()).then_some(c);
            escaped.into_iter().flatten().chain(plain)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_grant_names_role_and_object() {
        for (message, expect) in [
            (
                "permission denied for table scores",
                "run: GRANT SELECT, INSERT, UPDATE, DELETE ON scores TO \"worker\"",
            ),
            (
                "permission denied for sequence scores_id_seq",
                "run: GRANT USAGE ON SEQUENCE scores_id_seq TO \"worker\"",
            ),
            (
                "permission denied for schema app",
                "run: GRANT USAGE ON SCHEMA app TO \"worker\"",
            ),
            (
                "permission denied for function book",
                "run: GRANT EXECUTE ON ROUTINE book TO \"worker\"",
            ),
            (
                "permission denied to set role \"writer\"",
                "run: GRANT \"writer\" TO \"worker\"",
            ),
            (
                "keine Berechtigung für Tabelle scores",
                "run: GRANT the right that it names TO \"worker\"",
            ),
        ] {
            let text = denied(message, "worker");
            assert!(text.starts_with(&format!("the server says: {message}; ")));
            assert!(text.contains(expect), "{text}");
        }
    }

    #[test]
    fn a_statement_of_a_user_needs_rights_only_on_tables_of_the_user() {
        let customers = denied_to_user("permission denied for table customers", "crm_writer");
        assert_eq!(
            customers,
            "the server says: permission denied for table customers; run: GRANT SELECT, INSERT, \
             UPDATE, DELETE ON customers TO \"crm_writer\", with the schema before the name"
        );
        let schema = denied_to_user("permission denied for schema crm", "crm_writer");
        assert!(
            schema.ends_with("; run: GRANT USAGE ON SCHEMA crm TO \"crm_writer\""),
            "{schema}"
        );
        for table in ["events", "claims", "begini_scores", "_sqlx_migrations"] {
            let text = denied_to_user(&format!("permission denied for table {table}"), "crm");
            let advice = format!("the statement must not touch the table {table} of hookbox");
            assert!(text.contains(&advice), "{text}");
            assert!(!text.contains("DELETE ON"), "{text}");
        }
    }

    #[test]
    fn what_others_wrote_is_escaped_and_bounded() {
        let text = denied("permission denied for table \u{1b}[31m\nx", "a\"b");
        assert!(!text.contains('\u{1b}') && !text.contains('\n'), "{text}");
        assert!(text.contains("TO \"a\"\"b\""), "{text}");
        assert!(denied(&"x".repeat(9_999), "worker").len() < 500);
    }
}
