//! Runs a user's statements on SQLite.

use std::sync::Arc;

use bytes::Bytes;
use hookbox_driver_sqlite::Sqlite;
use hookbox_worker::{BatchError, Event, Handler, HandlerError, Json};
use sqlx::query::Query;
use sqlx::sqlite::{SqliteArguments, SqliteConnection};
use sqlx::{AssertSqlSafe, Error, Executor, SqlSafeStr};

use super::codes::{Class, primary};
use super::parameter::Passed;
use super::program::{Compiled, Program, Slot};
use super::sqlite_writes::{self, WritesOwnTable};
use super::statement_error::StatementError;
use super::values::{Value, Values};
use super::{NAME, Sql};

/// `SQLITE_ERROR`, the code of all errors for which SQLite has no more specific code.
const ERROR: &str = "1";

impl Handler<Sqlite> for Sql<Sqlite> {
    const NAME: &'static str = NAME;
    type Payload = Values;

    fn is_repeatable(&self) -> bool {
        self.program.is_repeatable
    }

    fn payload(&self, body: &Bytes, read: Option<Json>) -> Result<Values, HandlerError> {
        self.program.payload(body, read)
    }

    async fn check_database(&self, tx: &mut SqliteConnection) -> Result<(), HandlerError> {
        for compiled in &self.program.statements {
            let prepared = tx.prepare_with(sql(compiled).into_sql_str(), &[]).await;
            prepared.map_err(|error| {
                HandlerError::permanent(statement_error(&self.program, compiled, error))
            })?;
            let statement = &compiled.statement;
            if let Some(table) = sqlite_writes::own_table(&statement.sql, tx).await? {
                return Err(HandlerError::permanent(WritesOwnTable {
                    origin: self.program.origin.clone(),
                    place: statement.place,
                    table,
                }));
            }
        }
        Ok(())
    }

    async fn handle(
        &self,
        event: &Event<Values>,
        tx: &mut SqliteConnection,
    ) -> Result<(), HandlerError> {
        run(&self.program, std::slice::from_ref(event), tx).await
    }

    async fn handle_all(
        &self,
        events: &[Event<Values>],
        tx: &mut SqliteConnection,
    ) -> Result<(), BatchError> {
        if !self.program.is_batch {
            return Err(BatchError::one_by_one());
        }
        let ran = run(&self.program, events, tx).await;
        ran.map_err(BatchError::unknown)
    }
}

/// Runs the statements: for one event, or with JSON arrays for all events of a batch.
async fn run(
    program: &Program,
    events: &[Event<Values>],
    tx: &mut SqliteConnection,
) -> Result<(), HandlerError> {
    for compiled in &program.statements {
        let mut query = sqlx::query(sql(compiled));
        for slot in &compiled.slots {
            query = match events {
                [event] if !program.is_batch => bind_one(query, *slot, event),
                events => query.bind(json_array(*slot, events)),
            };
        }
        if let Err(error) = query.execute(&mut *tx).await {
            return Err(failure(program, compiled, error, tx).await);
        }
    }
    Ok(())
}

fn sql(compiled: &Compiled) -> AssertSqlSafe<Arc<str>> {
    AssertSqlSafe(Arc::clone(&compiled.statement.sql))
}

type SqliteQuery<'q> = Query<'q, sqlx::Sqlite, SqliteArguments>;

fn bind_one<'q>(query: SqliteQuery<'q>, slot: Slot, event: &Event<Values>) -> SqliteQuery<'q> {
    let value = slot.source.value(event);
    match slot.kind.passed() {
        Passed::Text => query.bind(value.text().map(str::to_owned)),
        Passed::Whole => query.bind(value.whole()),
        Passed::Boolean => query.bind(value.boolean()),
    }
}

/// Returns the text of a JSON array with the value of each event. Every value that is passed as
/// text, also a decimal number or JSON, is a string in the array, so that `json_each` returns it
/// unchanged.
fn json_array(slot: Slot, events: &[Event<Values>]) -> String {
    let values = events.iter().map(|event| match slot.source.value(event) {
        Value::Null => serde_json::Value::Null,
        Value::Text(text) => text.into_owned().into(),
        Value::Whole(whole) => whole.into(),
        Value::Boolean(boolean) => boolean.into(),
    });
    serde_json::Value::Array(values.collect()).to_string()
}

/// Converts the error of a statement into that of the handler.
async fn failure(
    program: &Program,
    compiled: &Compiled,
    source: Error,
    tx: &mut SqliteConnection,
) -> HandlerError {
    // This code may mean that a table or column does not exist, but also many errors that depend on
    // values. Preparing the statement once more distinguishes the two.
    let code = code(&source);
    if code.as_deref() == Some(ERROR)
        && let Err(unfit) = prepare_again(compiled, tx).await
    {
        // No value is bound when a statement is prepared, so the message contains none.
        let message = unfit.as_database_error().map(|it| it.message().to_owned());
        let error = statement_error(program, compiled, unfit);
        return error.classed(Class::Pause, None, message);
    }
    let class = code.map_or(Class::Transient, |code| {
        program.codes.class(&code, &primary(&code))
    });
    statement_error(program, compiled, source).classed(class, None, None)
}

fn statement_error(program: &Program, compiled: &Compiled, source: Error) -> StatementError {
    StatementError {
        origin: program.origin.clone(),
        place: compiled.statement.place,
        code: code(&source).map(|code| format!("result code {code}")),
        hint: None,
        source,
    }
}

fn code(error: &Error) -> Option<String> {
    let code = error.as_database_error()?.code()?;
    Some(code.into_owned())
}

/// Prepares a statement once more, to find out whether it still fits the tables. The text is
/// changed by `explain`, because for the same text sqlx would return the statement that it keeps
/// prepared.
async fn prepare_again(compiled: &Compiled, tx: &mut SqliteConnection) -> Result<(), Error> {
    let text = AssertSqlSafe(format!("explain {}", compiled.statement.sql));
    tx.prepare_with(text.into_sql_str(), &[]).await.map(drop)
}
