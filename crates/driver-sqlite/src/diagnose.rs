//! Classifies SQLite's result codes: some are failures of the file, which hookbox reports as
//! faults, and the others are failures of a handler's statement.

use std::error::Error;
use std::io;

use hookbox_driver::{Fault, FaultKind, OpenError, UserStatement, causes};
use sqlx::error::DatabaseError;
use sqlx::sqlite::SqliteError;

use crate::file::opened_file::Displaced;
use crate::file::room::NoRoom;

/// The largest number of characters of SQLite's message that a remedy shows.
const TEXT_MAX: usize = 200;

// Primary result codes (sqlite.org/rescode.html). The primary code is the low byte of the code that
// SQLite reports.
const ERROR: i32 = 1;
const PERM: i32 = 3;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const NOTADB: i32 = 26;

/// Returns the class of the first error in the chain of causes that is a failure of the file;
/// `None` when no error in the chain is one.
pub(crate) fn diagnose(error: &(dyn Error + 'static)) -> Option<FaultKind> {
    causes(error).find_map(one)
}

/// Returns an error and its causes on one line. sqlx puts words and the result code before SQLite's
/// message. These are left out if the line shows the result code elsewhere.
pub(crate) fn describe(error: &(dyn Error + 'static)) -> String {
    let shown = hookbox_driver::describe(error);
    let found = causes(error).find_map(of_sqlite);
    let Some((message, code)) = found.and_then(|it| Some((it.message(), it.code()?))) else {
        return shown;
    };
    if !shown.contains(&format!("(result code {code})")) {
        return shown;
    }
    let by_sqlx = format!("error returned from database: (code: {code}) {message}");
    shown.replace(&by_sqlx, message)
}

/// Returns the remedy for a failed statement that a user wrote in the config: what is missing, and
/// what to do about it. Returns `None` for every other error: a SQLite file has no users with
/// rights, and SQLite has no error code for a missing table.
pub(crate) fn remedy(error: &(dyn Error + 'static)) -> Option<String> {
    let UserStatement { place, message, .. } = Fault::statement_of(error)?;
    let said = match message {
        Some(message) => {
            let plain = |one: char| if one.is_control() { ' ' } else { one };
            let message: String = message.chars().take(TEXT_MAX).map(plain).collect();
            format!("the database says: {message}")
        }
        None => "the statement does not fit the database".to_owned(),
    };
    Some(format!(
        "{place}: {said}; correct the statement, or run the migrations of its tables"
    ))
}

/// Returns a function that converts an error into a fault. `doing` names the failed operation as a
/// verb phrase that can follow "failed to".
pub(crate) fn fault(doing: &'static str) -> impl FnOnce(sqlx::Error) -> Fault {
    move |error| {
        let kind = diagnose(&error).unwrap_or(FaultKind::Internal);
        match error {
            // `Displaced` and `NoRoom` are errors of hookbox that reach this place inside an IO
            // error of sqlx. The text that sqlx puts before them would be wrong, so only the inner
            // error is kept.
            sqlx::Error::Io(error)
                if error
                    .get_ref()
                    .is_some_and(|inner| inner.is::<Displaced>() || inner.is::<NoRoom>()) =>
            {
                Fault::new(kind, doing, error)
            }
            error => Fault::new(kind, doing, error),
        }
    }
}

/// Returns whether the disk or the file is full. Unlike other failures of the file, this one ends
/// without a repair, as soon as space is freed.
pub(crate) fn is_full(error: &(dyn Error + 'static)) -> bool {
    causes(error).any(|error| code(error) == Some(FULL) || is_without_room(error))
}

/// Returns whether opening may succeed later without a repair: when another process has locked the
/// file, or when the disk is full. For a missing file, or a file of another program, it returns
/// `false`.
pub fn ends_by_itself(error: &OpenError) -> bool {
    match error {
        OpenError::Unavailable { .. } => {
            diagnose(error) == Some(FaultKind::Contention) || is_full(error)
        }
        OpenError::Environment { .. }
        | OpenError::Identity { .. }
        | OpenError::SchemaOlder { .. }
        | OpenError::SchemaNewer { .. }
        | OpenError::Unsafe { .. }
        | OpenError::Refused { .. }
        | OpenError::Topology(_)
        | OpenError::Options { .. } => false,
    }
}

/// Why a file cannot be opened, for causes that do not pass by waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// The file is not a SQLite database.
    NoDatabase,
    /// The pages of the file contradict each other.
    Damaged,
    /// The operating system denies access to the file.
    Forbidden,
    /// A statement of hookbox does not fit the tables of the file, so the file belongs to another
    /// program.
    Foreign,
}

/// Returns why the file cannot be opened; `None` for an error that may pass by waiting.
pub(crate) fn unusable(error: &sqlx::Error) -> Option<Unusable> {
    match code(error)? {
        NOTADB => Some(Unusable::NoDatabase),
        CORRUPT => Some(Unusable::Damaged),
        PERM | READONLY | CANTOPEN => Some(Unusable::Forbidden),
        ERROR => Some(Unusable::Foreign),
        _ => None,
    }
}

/// Returns whether the error says that there is no space. The publisher reports this error when the
/// file is at its size limit, and the operating system when the disk is full.
fn is_without_room(error: &(dyn Error + 'static)) -> bool {
    let error = error.downcast_ref::<io::Error>();
    error.is_some_and(|error| error.kind() == io::ErrorKind::StorageFull)
}

fn one(error: &(dyn Error + 'static)) -> Option<FaultKind> {
    if let Some(fault) = error.downcast_ref::<Fault>() {
        return Some(fault.kind());
    }
    if let Some(code) = code(error) {
        return of_code(code);
    }
    match error.downcast_ref::<sqlx::Error>()? {
        sqlx::Error::Io(_)
        | sqlx::Error::PoolTimedOut
        | sqlx::Error::PoolClosed
        | sqlx::Error::WorkerCrashed => Some(FaultKind::Unavailable),
        _ => None,
    }
}

/// Returns SQLite's primary result code; `None` for an error that SQLite did not raise.
fn code(error: &(dyn Error + 'static)) -> Option<i32> {
    let extended: i32 = of_sqlite(error)?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// Returns the error as an error of SQLite, if it is one.
fn of_sqlite<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e dyn DatabaseError> {
    match error.downcast_ref::<sqlx::Error>() {
        Some(sqlx::Error::Database(database)) => Some(&**database),
        Some(_) => None,
        None => Some(error.downcast_ref::<SqliteError>()?),
    }
}

fn of_code(code: i32) -> Option<FaultKind> {
    match code {
        BUSY | LOCKED | PROTOCOL => Some(FaultKind::Contention),
        PERM | NOMEM | READONLY | IOERR | CORRUPT | FULL | CANTOPEN | NOTADB => {
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
        for code in [5, 6, 15] {
            assert_eq!(of_code(code), Some(FaultKind::Contention), "{code}");
        }
        for code in [3, 7, 8, 10, 11, 13, 14, 26] {
            assert_eq!(of_code(code), Some(FaultKind::Unavailable), "{code}");
        }
        // ERROR, INTERNAL, SCHEMA, TOOBIG, CONSTRAINT, MISMATCH, MISUSE and RANGE are failures of
        // the statement and not of the file.
        for code in [1, 2, 17, 18, 19, 20, 21, 25] {
            assert_eq!(of_code(code), None, "{code}");
        }
    }

    #[test]
    fn the_remedy_shows_what_the_database_says_of_a_statement_of_a_user() {
        let fault = || Fault::plain(FaultKind::MissingRight, "run a statement");
        let of = |message: Option<&str>| {
            let statement = UserStatement {
                place: "a.sql, line 2, column 1 (result code 1)".to_owned(),
                role: None,
                message: message.map(str::to_owned),
            };
            remedy(&fault().of_statement(statement)).expect("a remedy")
        };
        let text = of(Some("no such table: own\n\u{1b}[2J"));
        assert_eq!(
            text,
            "a.sql, line 2, column 1 (result code 1): the database says: no such table: own  [2J; \
             correct the statement, or run the migrations of its tables"
        );
        assert!(of(Some(&"x".repeat(9_999))).len() < 500);
        assert!(of(None).contains("(result code 1): the statement does not fit the database; "));
        assert_eq!(remedy(&fault()), None);
    }
}
