//! Checks a transaction after a handler that is not hookbox's own has used it: it must be the
//! transaction that was opened, and the settings of its session must be unchanged. Other state of
//! the session is not compared. It is reset, so that no later handler finds it, neither in this
//! transaction nor in the next one.

use std::time::Instant;

use hookbox_driver::CommitError;
use sqlx::{AssertSqlSafe, Error, Executor, PgConnection, Row};

use crate::diagnose;
use crate::server::prepared_statements::{forget, prepared_by_session};
use crate::server::query_error::QueryError;
use crate::server::session::{begin_to_write, keep_plans};
use crate::tx::{Tx, ended};

/// The session settings that a handler must leave unchanged. Each of them determines what hookbox's
/// own statements do, whether they are allowed, or whether a commit is durable.
macro_rules! watched {
    () => {
        "array[current_user::text, session_user::text,
             pg_catalog.current_setting('search_path'),
             pg_catalog.current_setting('session_replication_role'),
             pg_catalog.current_setting('statement_timeout'),
             pg_catalog.current_setting('lock_timeout'),
             pg_catalog.current_setting('idle_in_transaction_session_timeout'),
             coalesce(pg_catalog.current_setting('transaction_timeout', true), ''),
             pg_catalog.current_setting('synchronous_commit'),
             pg_catalog.current_setting('row_security'),
             pg_catalog.current_setting('transaction_read_only'),
             pg_catalog.current_setting('client_encoding')]::text[]"
    };
}

/// The names of the settings in [`watched!`], in the same order. The error text names those that
/// changed.
const WATCHED: [&str; 12] = [
    "role",
    "session_authorization",
    "search_path",
    "session_replication_role",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "transaction_timeout",
    "synchronous_commit",
    "row_security",
    "transaction_read_only",
    "client_encoding",
];

/// The statements that open a transaction for an attempt without a handler of the user, or for the
/// record of how external calls ended.
pub(crate) const BEGIN_OWN: &str = concat!(begin_to_write!(), "; ", keep_plans!());

/// The statements that open a transaction for a handler of the user. They record the settings of
/// the session, and set a savepoint. When the server rejects every other statement, going back to
/// the savepoint shows what happened: it works in an aborted transaction, and fails in one that was
/// ended.
pub(crate) const BEGIN: &str = concat!(
    begin_to_write!(),
    "; ",
    keep_plans!(),
    "; select pg_catalog.set_config('hookbox.began', (",
    watched!(),
    ")::text, true); savepoint hookbox_unit"
);

const ASK: &str = concat!(
    "select pg_catalog.pg_current_xact_id_if_assigned()::text, ",
    watched!(),
    ", nullif(pg_catalog.current_setting('hookbox.began', true), '')::text[],
     statements.prepared, statements.cached
     from ",
    prepared_by_session!(),
    "; "
);

/// What was read after a handler: the transaction, the settings of the session, and its prepared
/// statements.
pub(crate) struct Proof {
    transaction: Option<String>,
    now: Vec<String>,
    began: Option<Vec<String>>,
    /// The names of the statements that the handler has prepared.
    prepared: Vec<String>,
    /// How many of the statements that the database driver (sqlx) has prepared still exist.
    cached: i64,
}

/// See [`hookbox_driver::Store::prove`].
pub(crate) async fn prove(tx: &mut Tx) -> Result<(), CommitError> {
    let asked = Instant::now();
    let limit = tx.options().statement_timeout;
    let reset = tx.reset();
    let proof = match tx.run(|c| query(c, reset)).await {
        Ok(proof) => proof,
        // The server cancelled the query before hookbox's own time limit, so the handler has set a
        // shorter limit.
        Err(QueryError::Database(error))
            if diagnose::is_cancelled(&error) && asked.elapsed() < limit =>
        {
            return broken("the handler left a time limit that is too short".to_owned());
        }
        Err(error) => {
            return Err(tx
                .attribute(error, "check the transaction after a handler")
                .await);
        }
    };
    if proof.transaction.is_none() || proof.transaction != tx.id {
        return Err(ended());
    }
    if tx.depth() != 1 {
        return broken("the handler left a savepoint open".to_owned());
    }
    // The reset removes the recorded settings from the server, so `tx.session` keeps those that the
    // first proof read.
    tx.session = tx.session.take().or(proof.began);
    let changed = changed(tx.session.as_deref(), &proof.now);
    if !changed.is_empty() {
        return broken(format!(
            "the handler changed settings and did not change them back: {}",
            changed.join(", ")
        ));
    }
    let Proof {
        prepared, cached, ..
    } = proof;
    match tx.run(|c| forget(c, prepared, cached)).await {
        Ok(()) => Ok(()),
        Err(error) => Err(tx
            .attribute(error, "reset the session after a handler")
            .await),
    }
}

fn broken(why: String) -> Result<(), CommitError> {
    Err(CommitError::BrokenByHandler { why })
}

/// Returns the names of the settings that changed. Their values are left out, because a handler may
/// have put anything into them, such as personal data.
fn changed(began: Option<&[String]>, now: &[String]) -> Vec<&'static str> {
    let Some(began) = began else {
        return vec!["all settings"];
    };
    let pairs = WATCHED.into_iter().zip(began.iter().zip(now));
    pairs
        .filter(|(_, (began, now))| began != now)
        .map(|(name, _)| name)
        .collect()
}

/// Reads the state of the session and then resets the session, in one round trip. It uses no
/// prepared statement, because the handler may have removed the driver's prepared statements.
async fn query(c: &mut PgConnection, reset: String) -> Result<Proof, Error> {
    let asked = format!("{ASK}{reset}");
    let rows = c.fetch_all(sqlx::raw_sql(AssertSqlSafe(asked))).await?;
    let row = rows.first().ok_or(Error::RowNotFound)?;
    let prepared: Option<Vec<String>> = row.try_get(3)?;
    Ok(Proof {
        transaction: row.try_get(0)?,
        now: row.try_get(1)?,
        began: row.try_get(2)?,
        prepared: prepared.unwrap_or_default(),
        cached: row.try_get(4)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_changed_is_named() {
        let began = vec!["a".to_owned(); WATCHED.len()];
        assert_eq!(changed(Some(&began), &began), Vec::<&str>::new());
        for (at, name) in WATCHED.into_iter().enumerate() {
            let mut now = began.clone();
            now[at] = "b".to_owned();
            assert_eq!(changed(Some(&began), &now), [name]);
        }
        let mut two = began.clone();
        two[0] = "b".to_owned();
        two[2] = "b".to_owned();
        assert_eq!(changed(Some(&began), &two), ["role", "search_path"]);
        assert_eq!(changed(None, &began), ["all settings"]);
    }

    #[test]
    fn each_watched_setting_has_its_name() {
        let expressions = watched!().matches("current_setting(").count();
        // `WATCHED` has two more names than calls of `current_setting`: those for `current_user`
        // and `session_user`.
        assert_eq!(expressions + 2, WATCHED.len());
    }
}
