//! The properties of a server: its version, its features, and whether its settings let hookbox keep
//! its promises.

use hookbox_driver::OpenError;
use sqlx::{PgConnection, Row};

/// The oldest version of PostgreSQL that is accepted, as the number that the server reports: 13.0.
/// Older versions lack `pg_current_xact_id`, by which the guard identifies its transaction. The
/// tests run on PostgreSQL 15 and newer.
const VERSION_MIN: i32 = 130_000;

/// What the server reports about its version and its settings.
#[derive(Debug, Clone)]
pub(crate) struct Server {
    version: i32,
    standby: bool,
    read_only: bool,
    fsync: bool,
    full_page_writes: bool,
    synchronous_commit: String,
    encoding: String,
    /// The schema in which the session finds hookbox's tables, or would create them; `None` if its
    /// `search_path` names no schema that its role may use.
    pub schema: Option<String>,
    /// Whether the server detects during a statement that its client has gone (14 and later, on
    /// most systems).
    pub checks_clients: bool,
    /// Whether the server can end transactions that take too long (17 and later).
    pub limits_transactions: bool,
}

impl Server {
    /// Reads the version and the settings of the server.
    pub async fn read(connection: &mut PgConnection) -> Result<Self, sqlx::Error> {
        let row = sqlx::query(
            "select current_setting('server_version_num')::int,
                    pg_is_in_recovery(),
                    current_setting('transaction_read_only') = 'on',
                    current_setting('fsync') = 'on',
                    current_setting('full_page_writes') = 'on',
                    current_setting('synchronous_commit'),
                    current_setting('server_encoding'),
                    coalesce((select n.nspname
                              from pg_class c join pg_namespace n on n.oid = c.relnamespace
                              where c.oid = to_regclass('_sqlx_migrations')),
                             current_schema())::text",
        )
        .fetch_one(&mut *connection)
        .await?;
        let version: i32 = row.try_get(0)?;
        Ok(Self {
            version,
            standby: row.try_get(1)?,
            read_only: row.try_get(2)?,
            fsync: row.try_get(3)?,
            full_page_writes: row.try_get(4)?,
            synchronous_commit: row.try_get(5)?,
            encoding: row.try_get(6)?,
            schema: row.try_get(7)?,
            checks_clients: version >= 140_000 && can_check_clients(connection).await?,
            limits_transactions: version >= 170_000,
        })
    }

    /// Returns the value of `synchronous_commit` that hookbox's sessions set. It is `on`, but a
    /// server whose commits also wait until a standby has applied them (`remote_apply`) keeps that
    /// value.
    pub fn synchronous_commit(&self) -> &'static str {
        match self.synchronous_commit.as_str() {
            "remote_apply" => "remote_apply",
            _ => "on",
        }
    }

    /// Refuses a server on which a commit is not as durable as hookbox promises. `in_session` says
    /// whether the values were read in a session with hookbox's own settings. Only such a session
    /// shows whether hookbox's value of `synchronous_commit` takes effect.
    pub fn check(&self, in_session: bool) -> Result<(), OpenError> {
        let refuse = |why: &str| {
            Err(OpenError::Unsafe {
                what: "the database",
                why: why.to_owned(),
            })
        };
        if self.version < VERSION_MIN {
            return refuse("the server is older than PostgreSQL 13");
        }
        if self.encoding != "UTF8" {
            // The encoding is fixed when a database is created. An event with a text that the
            // encoding cannot hold would never be settled.
            return Err(OpenError::Refused {
                what: "the database",
                why: format!(
                    "the database's encoding {} cannot hold every text; it must be UTF8",
                    self.encoding
                ),
                remedy:
                    "create another database, and move the data there: CREATE DATABASE hookbox \
                         ENCODING 'UTF8' TEMPLATE template0"
                        .to_owned(),
                source: None,
            });
        }
        if self.standby {
            return refuse("the server is a standby; point the URL at the primary");
        }
        if self.read_only {
            return refuse("transactions are read-only; default_transaction_read_only must be off");
        }
        if !self.fsync {
            return refuse("fsync is off, so a crash loses what was committed; it must be on");
        }
        if !self.full_page_writes {
            return refuse("full_page_writes is off, so a crash may tear pages; it must be on");
        }
        if in_session && self.synchronous_commit != self.synchronous_commit() {
            return refuse(
                "synchronous_commit does not stay on in hookbox's sessions; check whether a \
                 connection pooler changes it",
            );
        }
        Ok(())
    }
}

/// Returns whether the server supports `client_connection_check_interval`, with which it detects
/// lost clients. On some operating systems it refuses this setting.
async fn can_check_clients(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    match sqlx::query("set client_connection_check_interval = '2s'")
        .execute(connection)
        .await
    {
        Ok(_) => Ok(true),
        Err(sqlx::Error::Database(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn good() -> Server {
        Server {
            version: 150_000,
            standby: false,
            read_only: false,
            fsync: true,
            full_page_writes: true,
            synchronous_commit: "on".to_owned(),
            encoding: "UTF8".to_owned(),
            schema: Some("public".to_owned()),
            checks_clients: true,
            limits_transactions: false,
        }
    }

    #[test]
    fn a_server_that_loses_commits_is_refused() {
        let level = |level: &str| Server {
            synchronous_commit: level.to_owned(),
            ..good()
        };
        for (server, in_session, word) in [
            (good(), true, None),
            (level("remote_apply"), true, None),
            // The server's default for `synchronous_commit` does not matter, because hookbox's
            // sessions set `on`.
            (level("off"), false, None),
            (level("off"), true, Some("synchronous_commit")),
            (level("local"), true, Some("synchronous_commit")),
            (
                Server {
                    fsync: false,
                    ..good()
                },
                false,
                Some("fsync"),
            ),
            (
                Server {
                    full_page_writes: false,
                    ..good()
                },
                false,
                Some("full_page_writes"),
            ),
            (
                Server {
                    standby: true,
                    ..good()
                },
                false,
                Some("standby"),
            ),
            (
                Server {
                    read_only: true,
                    ..good()
                },
                false,
                Some("read-only"),
            ),
            (
                Server {
                    version: 120_009,
                    ..good()
                },
                false,
                Some("13"),
            ),
        ] {
            let said = server
                .check(in_session)
                .err()
                .map(|error| error.to_string());
            match (word, said) {
                (None, None) => {}
                (Some(word), Some(said)) => assert!(said.contains(word), "{said}"),
                (word, said) => panic!("{server:?}: expected {word:?}, got {said:?}"),
            }
        }
    }
    #[test]
    fn an_encoding_that_cannot_hold_every_text_is_refused() {
        for encoding in ["LATIN1", "SQL_ASCII", "WIN1252"] {
            let server = Server {
                encoding: encoding.to_owned(),
                ..good()
            };
            let Err(refused @ OpenError::Refused { .. }) = server.check(false) else {
                panic!("the encoding {encoding} must be refused")
            };
            let said = refused.to_string();
            assert!(said.contains(encoding), "{said}");
            assert!(
                said.contains("ENCODING 'UTF8' TEMPLATE template0"),
                "{said}"
            );
        }
    }
}
