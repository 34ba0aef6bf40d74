//! Runs a user's statements on PostgreSQL.

use std::sync::Arc;

use bytes::Bytes;
use hookbox_driver_postgres::Postgres;
use hookbox_worker::{BatchError, Event, Handler, HandlerError, Json};
use sqlx::postgres::{PgArguments, PgConnection, PgDatabaseError, PgErrorPosition, PgTypeInfo};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Error, Executor, SqlSafeStr, Type};

use super::codes::Class;
use super::parameter::Passed;
use super::program::{Compiled, Program, Slot};
use super::statement_error::{StatementError, unfit};
use super::values::Values;
use super::{NAME, Sql};

/// The statement that returns whether PostgreSQL reads a backslash in a plain string (without the
/// prefix E) as the start of an escape. From PostgreSQL 19 on, no setting decides that: a backslash
/// in such a string is always an ordinary character.
const READS_BACKSLASHES: &str = "select coalesce(
    pg_catalog.current_setting('standard_conforming_strings', true), 'on') <> 'on'";

/// The error for a database in which a backslash can change where an SQL string ends, so that
/// hookbox cannot tell where a statement ends.
#[derive(Debug, thiserror::Error)]
#[error(
    "standard_conforming_strings is off in the database, so hookbox and the database would not \
     agree where a statement ends; set it to on for hookbox's role"
)]
struct OtherStrings;

/// The error for a role that hookbox cannot switch to.
#[derive(Debug, thiserror::Error)]
#[error("cannot switch to the role {role:?}")]
struct RoleError {
    role: String,
    source: Error,
}

impl Handler<Postgres> for Sql<Postgres> {
    const NAME: &'static str = NAME;
    type Payload = Values;

    fn is_repeatable(&self) -> bool {
        self.program.is_repeatable
    }

    fn payload(&self, body: &Bytes, read: Option<Json>) -> Result<Values, HandlerError> {
        self.program.payload(body, read)
    }

    async fn check_database(&self, tx: &mut PgConnection) -> Result<(), HandlerError> {
        let reads_backslashes: bool = sqlx::query_scalar(READS_BACKSLASHES)
            .fetch_one(&mut *tx)
            .await?;
        if reads_backslashes {
            return Err(HandlerError::permanent(OtherStrings));
        }
        set_role(&self.program, tx).await?;
        for compiled in &self.program.statements {
            let types: Vec<PgTypeInfo> = compiled
                .slots
                .iter()
                .map(|slot| type_of(*slot, self.program.is_batch))
                .collect();
            let prepared = tx.prepare_with(sql(compiled).into_sql_str(), &types).await;
            prepared.map_err(|error| {
                HandlerError::permanent(statement_error(&self.program, compiled, error))
            })?;
        }
        reset_role(&self.program, tx).await
    }

    async fn handle(
        &self,
        event: &Event<Values>,
        tx: &mut PgConnection,
    ) -> Result<(), HandlerError> {
        run(&self.program, std::slice::from_ref(event), tx).await
    }

    async fn handle_all(
        &self,
        events: &[Event<Values>],
        tx: &mut PgConnection,
    ) -> Result<(), BatchError> {
        if !self.program.is_batch {
            return Err(BatchError::one_by_one());
        }
        let ran = run(&self.program, events, tx).await;
        ran.map_err(BatchError::unknown)
    }
}

/// Runs the statements: for one event, or with arrays for all events of a batch.
async fn run(
    program: &Program,
    events: &[Event<Values>],
    tx: &mut PgConnection,
) -> Result<(), HandlerError> {
    set_role(program, tx).await?;
    for compiled in &program.statements {
        let mut query = sqlx::query(sql(compiled));
        for slot in &compiled.slots {
            query = match events {
                [event] if !program.is_batch => bind_one(query, *slot, event),
                events => bind_array(query, *slot, events),
            };
        }
        let ran = query.execute(&mut *tx).await;
        ran.map_err(|error| failure(program, compiled, error))?;
    }
    reset_role(program, tx).await
}

fn sql(compiled: &Compiled) -> AssertSqlSafe<Arc<str>> {
    AssertSqlSafe(Arc::clone(&compiled.statement.sql))
}

type PgQuery<'q> = Query<'q, sqlx::Postgres, PgArguments>;

fn bind_one<'q>(query: PgQuery<'q>, slot: Slot, event: &Event<Values>) -> PgQuery<'q> {
    let value = slot.source.value(event);
    match slot.kind.passed() {
        Passed::Text => query.bind(value.text()),
        Passed::Whole => query.bind(value.whole()),
        Passed::Boolean => query.bind(value.boolean()),
    }
}

fn bind_array<'q>(query: PgQuery<'q>, slot: Slot, events: &[Event<Values>]) -> PgQuery<'q> {
    let values: Vec<_> = events.iter().map(|it| slot.source.value(it)).collect();
    let values = values.iter();
    match slot.kind.passed() {
        Passed::Text => query.bind(values.map(|it| it.text()).collect::<Vec<_>>()),
        Passed::Whole => query.bind(values.map(|it| it.whole()).collect::<Vec<_>>()),
        Passed::Boolean => query.bind(values.map(|it| it.boolean()).collect::<Vec<_>>()),
    }
}

/// Returns the type with which a parameter is passed.
fn type_of(slot: Slot, is_batch: bool) -> PgTypeInfo {
    fn of<T: Type<sqlx::Postgres>>() -> PgTypeInfo {
        T::type_info()
    }
    match (slot.kind.passed(), is_batch) {
        (Passed::Text, false) => of::<String>(),
        (Passed::Text, true) => of::<Vec<String>>(),
        (Passed::Whole, false) => of::<i64>(),
        (Passed::Whole, true) => of::<Vec<i64>>(),
        (Passed::Boolean, false) => of::<bool>(),
        (Passed::Boolean, true) => of::<Vec<bool>>(),
    }
}

/// Switches to the role that the settings name, if any. The switch ends with the transaction at the
/// latest.
async fn set_role(program: &Program, tx: &mut PgConnection) -> Result<(), HandlerError> {
    let Some(role) = &program.role else {
        return Ok(());
    };
    let quoted = role.replace('"', "\"\"");
    let set = AssertSqlSafe(format!("set local role \"{quoted}\""));
    let Err(source) = tx.execute(sqlx::raw_sql(set)).await else {
        return Ok(());
    };
    let role = role.clone();
    // 22023 (invalid_parameter_value): there is no such role. The driver recognises all other
    // errors of this statement.
    let is_unknown = code(&source).is_some_and(|code| code == "22023");
    let error = RoleError { role, source };
    Err(if is_unknown {
        HandlerError::transient(unfit(error))
    } else {
        HandlerError::transient(error)
    })
}

/// Switches back to the role of the session.
async fn reset_role(program: &Program, tx: &mut PgConnection) -> Result<(), HandlerError> {
    if program.role.is_some() {
        tx.execute(sqlx::raw_sql("reset role")).await?;
    }
    Ok(())
}

/// Converts the error of a statement into that of the handler.
fn failure(program: &Program, compiled: &Compiled, source: Error) -> HandlerError {
    let class = code(&source).map_or(Class::Transient, |code| {
        let general = code.get(..2).unwrap_or(&code);
        program.codes.class(&code, general)
    });
    // The message of the database is left out, because a function that the statement calls may have
    // put values of the body into it. The driver of the store knows when the message may be shown.
    statement_error(program, compiled, source).classed(class, program.role.clone(), None)
}

fn statement_error(program: &Program, compiled: &Compiled, source: Error) -> StatementError {
    let place = match postgres(&source).and_then(PgDatabaseError::position) {
        Some(PgErrorPosition::Original(character)) => compiled.statement.place_of(character),
        // This position is in a statement of a function that the user's statement has called, so it
        // does not count.
        Some(PgErrorPosition::Internal { .. }) | None => compiled.statement.place,
    };
    let code = code(&source);
    StatementError {
        origin: program.origin.clone(),
        place,
        hint: code.as_deref().and_then(|it| hint(program, compiled, it)),
        code: code.map(|code| format!("SQLSTATE {code}")),
        source,
    }
}

/// Returns the probable cause of an error about types: the statement expects single values where
/// the parameters are arrays, or the other way round.
fn hint(program: &Program, compiled: &Compiled, code: &str) -> Option<&'static str> {
    let has_unnest = || {
        let sql = compiled.statement.sql.to_ascii_lowercase();
        sql.contains("unnest")
    };
    match (code, program.is_batch) {
        // 42804 is datatype_mismatch, and 42883 is undefined_function.
        ("42804" | "42883", true) => {
            Some("where each parameter is an array of the values of a batch, to be read by unnest")
        }
        // 42883 is undefined_function.
        ("42883", false) if has_unnest() => {
            Some("where each parameter is a single value, because `batch = true` is not set")
        }
        _ => None,
    }
}

fn postgres(error: &Error) -> Option<&PgDatabaseError> {
    let error = error.as_database_error()?;
    error.try_downcast_ref::<PgDatabaseError>()
}

fn code(error: &Error) -> Option<String> {
    postgres(error).map(|error| error.code().to_owned())
}
