//! Remedies for operators when the database denies a handler access to something. The server's
//! error text is only shown; the error's code decides which remedy applies.

use std::error::Error;

use hookbox_driver::causes;
use sqlx::error::DatabaseError;

/// How many characters of the server's text are shown at most.
const TEXT_MAX: usize = 200;

/// insufficient_privilege.
const DENIED: &str = "42501";

/// For the first database error in the chain of causes, returns what is missing, and the statement
/// that fixes it where that is known. Returns `None` when the chain has no database error.
pub(crate) fn remedy(error: &(dyn Error + 'static), role: &str) -> Option<String> {
    let database = causes(error).find_map(|error| {
        let of_sqlx = error.downcast_ref::<sqlx::Error>();
        of_sqlx
            .and_then(sqlx::Error::as_database_error)
            .or_else(|| Some(&**error.downcast_ref::<Box<dyn DatabaseError>>()?))
    });
    of_database(database?, role)
}

fn of_database(error: &dyn DatabaseError, role: &str) -> Option<String> {
    let code = error.code()?;
    if code == DENIED {
        return Some(denied(error.message(), role));
    }
    // The server's text is not shown, because it repeats a name from the statement, which a handler
    // may have taken from a body.
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

fn denied(message: &str, role: &str) -> String {
    let said: String = message.chars().take(TEXT_MAX).collect();
    let role = format!("\"{}\"", role.replace('"', "\"\""));
    let grant = match grant(&said) {
        Some(what) => format!("GRANT {what} TO {role}"),
        None => format!("GRANT the right that it names TO {role}"),
    };
    format!(
        "the server says: {}; run: {} (or TO the role that the handler switches to)",
        shown(&said),
        shown(&grant)
    )
}

/// Returns the `GRANT` that matches the server's text, if that text is in English. It grants all
/// rights on the object, of which a handler may need fewer.
fn grant(message: &str) -> Option<String> {
    let what = message.strip_prefix("permission denied for ")?;
    let (kind, name) = what.rsplit_once(' ')?;
    let right = match kind {
        "table" | "view" | "materialized view" | "foreign table" | "relation" => {
            "SELECT, INSERT, UPDATE, DELETE ON"
        }
        "sequence" => "USAGE ON SEQUENCE",
        "schema" => "USAGE ON SCHEMA",
        "function" | "procedure" | "routine" => "EXECUTE ON ROUTINE",
        _ => return None,
    };
    Some(format!("{right} {name}"))
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
    fn what_others_wrote_is_escaped_and_bounded() {
        let text = denied("permission denied for table \u{1b}[31m\nx", "a\"b");
        assert!(!text.contains('\u{1b}') && !text.contains('\n'), "{text}");
        assert!(text.contains("TO \"a\"\"b\""), "{text}");
        assert!(denied(&"x".repeat(9_999), "worker").len() < 500);
    }
}
