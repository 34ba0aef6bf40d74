//! Classifies errors: contention, an unavailable database, or a failure of the handler.

use std::error::Error;

use hookbox_driver::{Fault, FaultKind, causes};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgSeverity};

use crate::server::query_error::QueryError;

/// Returns the class of an error if it or one of its causes is a failure of the database. `None`
/// means that the error counts as the handler's failure.
pub(crate) fn diagnose(error: &(dyn Error + 'static)) -> Option<FaultKind> {
    causes(error).find_map(one)
}

/// Returns an error and its causes on one line. sqlx ends the text of a PostgreSQL error with a
/// line number of the server's own source code. That part is left out, because it looks like a line
/// number of the SQL statement. If the line shows the SQLSTATE, the words that sqlx puts before the
/// server's message are left out as well, because the SQLSTATE shows that the error is the
/// server's.
pub(crate) fn describe(error: &(dyn Error + 'static)) -> String {
    let shown = hookbox_driver::describe(error);
    let of_server = |error| {
        let found = of_postgres(error)?;
        Some((found.message(), found.code(), found.line()))
    };
    let Some((message, code, line)) = causes(error).find_map(of_server) else {
        return shown;
    };
    let shown = match line {
        Some(line) => shown.replace(&format!("{message} at line {line}"), message),
        None => shown,
    };
    if !shown.contains(&format!("(SQLSTATE {code})")) {
        return shown;
    }
    let by_sqlx = format!("error returned from database: {message}");
    shown.replace(&by_sqlx, message)
}

/// Returns the error as an error of PostgreSQL, if it is one.
fn of_postgres<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e PgDatabaseError> {
    let boxed: Option<&dyn DatabaseError> = match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Database(error)) => Some(&**error),
        Some(_) => None,
        None => error
            .downcast_ref::<Box<dyn DatabaseError>>()
            .map(|error| &**error),
    };
    match boxed {
        Some(error) => error.try_downcast_ref::<PgDatabaseError>(),
        None => error.downcast_ref::<PgDatabaseError>(),
    }
}

/// Returns the class of an error of one of hookbox's own statements. A cancelled statement means
/// that the server is too slow, so the database counts as unavailable. An error without a class
/// should not occur, so it counts as an internal fault.
fn of_our_own(error: &sqlx::Error) -> FaultKind {
    match diagnose(error) {
        Some(kind) => kind,
        None if code_is(error, "57014") => FaultKind::Unavailable,
        // `feature_not_supported`: a standby refuses writes with this code. No other statement of
        // hookbox is refused with this code.
        None if code_is(error, "0A000") => FaultKind::Unavailable,
        // configuration_limit_exceeded: a setting such as `temp_file_limit` is too low for hookbox.
        None if code_is(error, "53400") => FaultKind::Unavailable,
        None => FaultKind::Internal,
    }
}

impl QueryError {
    /// Converts the error of one of hookbox's own statements to a fault. The caller knows that no
    /// handler can have caused the error.
    pub fn ours(self, doing: &'static str) -> Fault {
        let kind = match &self {
            QueryError::Database(error) | QueryError::Refused { error, .. } => of_our_own(error),
            QueryError::Unresponsive { .. } => FaultKind::Unavailable,
        };
        Fault::new(kind, doing, self)
    }
}

/// Returns whether the server reports that the transaction was already aborted. This happens when a
/// handler has ignored the error of an earlier statement.
pub(crate) fn is_aborted(error: &sqlx::Error) -> bool {
    code_is(error, "25P02")
}

/// Returns whether the server does not know the savepoint, or has no open transaction.
pub(crate) fn has_no_savepoint(error: &sqlx::Error) -> bool {
    code_is(error, "3B001") || code_is(error, "25P01")
}

/// Returns whether the server ended a statement because it took too long or another session
/// cancelled it.
pub(crate) fn is_cancelled(error: &sqlx::Error) -> bool {
    code_is(error, "57014")
}

/// Returns whether the error says that the role lacks a right.
pub(crate) fn is_forbidden(error: &sqlx::Error) -> bool {
    code_is(error, "42501")
}

/// Returns whether the server refused a statement of hookbox's own because a right, a name or a
/// prepared statement is missing. What is missing existed when the transaction began, so a handler
/// may have removed it in the transaction.
pub(crate) fn is_refused(error: &sqlx::Error) -> bool {
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| code.starts_with("42") || code == "3F000" || code == "26000")
}

/// Returns whether the server could not read a text as a number (22P02). The check of a session's
/// mark fails with this error in every session that has another mark.
pub(crate) fn is_unreadable_number(error: &sqlx::Error) -> bool {
    code_is(error, "22P02")
}

fn code_is(error: &sqlx::Error, code: &str) -> bool {
    error
        .as_database_error()
        .and_then(DatabaseError::code)
        .is_some_and(|found| found == code)
}

fn one(error: &(dyn Error + 'static)) -> Option<FaultKind> {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return Some(fault.kind());
    }
    if let Some(error) = error.downcast_ref::<QueryError>() {
        return match error {
            QueryError::Database(error) | QueryError::Refused { error, .. } => of_sqlx(error),
            QueryError::Unresponsive { .. } => Some(FaultKind::Unavailable),
        };
    }
    if let Some(error) = error.downcast_ref::<sqlx::Error>() {
        return of_sqlx(error);
    }
    if let Some(error) = error.downcast_ref::<Box<dyn DatabaseError>>() {
        return of_database(&**error);
    }
    error
        .downcast_ref::<PgDatabaseError>()
        .and_then(|error| of_code(error.code(), error.routine(), has_ended_session(error)))
}

fn of_sqlx(error: &sqlx::Error) -> Option<FaultKind> {
    match error {
        sqlx::Error::Database(error) => of_database(&**error),
        sqlx::Error::Io(_)
        | sqlx::Error::Tls(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Some(FaultKind::Unavailable),
        // `sqlx::Error` is `#[non_exhaustive]`. All its other variants are about the statement, its
        // arguments or its rows.
        _ => None,
    }
}

fn of_database(error: &dyn DatabaseError) -> Option<FaultKind> {
    let code = error.code()?;
    let postgres = error.try_downcast_ref::<PgDatabaseError>();
    let has_ended = postgres.is_none_or(has_ended_session);
    of_code(
        &code,
        postgres.and_then(PgDatabaseError::routine),
        has_ended,
    )
}

/// Returns whether the server has ended the session with this error.
fn has_ended_session(error: &PgDatabaseError) -> bool {
    match error.severity() {
        PgSeverity::Panic | PgSeverity::Fatal => true,
        PgSeverity::Error
        | PgSeverity::Warning
        | PgSeverity::Notice
        | PgSeverity::Debug
        | PgSeverity::Info
        | PgSeverity::Log => false,
    }
}

/// The function of PostgreSQL that raises the error for a prepared statement whose columns have
/// changed. Only the name of the function identifies this error: its SQLSTATE,
/// `feature_not_supported`, stands for many other errors too, and its message is translated.
const REVALIDATION: &str = "RevalidateCachedQuery";

/// Returns the class of an SQLSTATE, PostgreSQL's code of an error (PostgreSQL's documentation,
/// appendix A). `routine` is the function of the server that raised the error; `has_ended_session`
/// says whether the server ended the session with it.
///
/// 57014 (`query_canceled`) has no class, so it is the handler's failure. It results from a
/// `statement_timeout`, which hookbox sets longer than the handler's own time limit, or from an
/// operator who cancelled the statement. In both cases the handler's statement takes too long. If
/// it counted as an outage, one slow event would stop its route for ever. As the handler's failure,
/// it is retried a bounded number of times and then becomes a dead letter.
fn of_code(code: &str, routine: Option<&str>, has_ended_session: bool) -> Option<FaultKind> {
    match code {
        // serialization_failure, deadlock_detected, lock_not_available.
        "40001" | "40P01" | "55P03" => Some(FaultKind::Contention),
        // The prepared statement is older than a migration or a restart of the server, or belongs
        // to another client of a pooler that shares sessions. A new connection has none of these
        // statements, so trying again helps.
        "26000" | "42P05" => Some(FaultKind::Contention),
        "0A000" if routine == Some(REVALIDATION) => Some(FaultKind::Contention),
        // admin_shutdown, crash_shutdown, cannot_connect_now, database_dropped, idle_session.
        "57P01" | "57P02" | "57P03" | "57P04" | "57P05" => Some(FaultKind::Unavailable),
        // read_only_sql_transaction: after a failover, the connection leads to a standby.
        "25006" => Some(FaultKind::Unavailable),
        // idle_in_transaction_session_timeout, transaction_timeout: this process must have been
        // stopped for a while (suspended, for example), because the engine's own limits are
        // shorter.
        "25P03" | "25P04" => Some(FaultKind::Unavailable),
        // insufficient_privilege, undefined_table, undefined_column, undefined_function,
        // invalid_schema_name: the deployed program and the database do not match.
        "42501" | "42P01" | "42703" | "42883" | "3F000" => Some(FaultKind::MissingRight),
        // configuration_limit_exceeded: the statement needs more than a setting such as
        // `temp_file_limit` allows, so it is the handler's failure.
        "53400" => None,
        // Class 08, connection exceptions. If the session continues, the failed connection is one
        // to another server, which a function or a foreign table has used. protocol_violation
        // (08P01) counts in any case, because some connection poolers end the session with this
        // error.
        "08P01" => Some(FaultKind::Unavailable),
        code if code.starts_with("08") => has_ended_session.then_some(FaultKind::Unavailable),
        // No disk, memory or connections left; IO errors of the system; corruption.
        code if ["53", "58", "XX"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            Some(FaultKind::Unavailable)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table() {
        use FaultKind::{Contention, MissingRight, Unavailable};
        for (code, routine, expect) in [
            ("40001", "", Some(Contention)),
            ("40P01", "", Some(Contention)),
            ("55P03", "", Some(Contention)),
            ("26000", "", Some(Contention)),
            ("42P05", "", Some(Contention)),
            ("0A000", "RevalidateCachedQuery", Some(Contention)),
            ("0A000", "transformLockingClause", None),
            ("0A000", "", None),
            ("57P01", "", Some(Unavailable)),
            ("57P03", "", Some(Unavailable)),
            ("08006", "", Some(Unavailable)),
            ("08P01", "", Some(Unavailable)),
            ("53400", "", None),
            ("53100", "", Some(Unavailable)),
            ("53300", "", Some(Unavailable)),
            ("25006", "", Some(Unavailable)),
            ("25P03", "", Some(Unavailable)),
            ("58030", "", Some(Unavailable)),
            ("XX001", "", Some(Unavailable)),
            ("57014", "", None),
            ("25P02", "", None),
            ("23505", "", None),
            ("22P05", "", None),
            ("42501", "", Some(MissingRight)),
            ("42P01", "", Some(MissingRight)),
            ("42703", "", Some(MissingRight)),
            ("42883", "", Some(MissingRight)),
            ("3F000", "", Some(MissingRight)),
            ("42601", "", None),
            ("P0001", "", None),
        ] {
            let named = Some(routine).filter(|it| !it.is_empty());
            assert_eq!(of_code(code, named, true), expect, "{code} {routine}");
        }
        assert_eq!(
            of_code("08001", None, false),
            None,
            "in a session that continues, the connection to another server has failed"
        );
        assert_eq!(of_code("08P01", None, false), Some(Unavailable));
    }

    #[test]
    fn the_chain_is_walked() {
        #[derive(Debug)]
        struct Wrapped(Box<dyn Error + Send + Sync>);
        impl std::fmt::Display for Wrapped {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("could not book it")
            }
        }
        impl Error for Wrapped {
            fn source(&self) -> Option<&(dyn Error + 'static)> {
                Some(&*self.0)
            }
        }
        let twice = |cause: sqlx::Error| Wrapped(Box::new(Wrapped(Box::new(cause))));
        let away = twice(sqlx::Error::PoolTimedOut);
        assert_eq!(diagnose(&away), Some(FaultKind::Unavailable));
        assert_eq!(diagnose(&twice(sqlx::Error::RowNotFound)), None);
        // An IO error that does not come from the database connection is not a fault. It may come,
        // for example, from a call that the handler makes to a service.
        let other = std::io::Error::other("the partner is unavailable");
        assert_eq!(diagnose(&Wrapped(Box::new(other))), None);
        let fault = Fault::plain(FaultKind::Contention, "claim");
        assert_eq!(
            diagnose(&Wrapped(Box::new(fault))),
            Some(FaultKind::Contention)
        );
    }
}
