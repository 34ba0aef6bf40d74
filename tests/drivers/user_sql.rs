//! Tests the handler `sql` in a worker, on PostgreSQL and on SQLite: what the user's statements
//! write, and what happens when a statement, a body or the database is not as it should be.

/// Makes one test for each function and each database.
macro_rules! both_databases {
    ($($case:ident),+ $(,)?) => {
        whole_suite!(postgres, crate::user_sql::on_postgres(), $($case),+);
        whole_suite!(sqlite, crate::embedded::Embedded::pair(), $($case),+);
    };
}

mod faults;
mod roles;
mod starting;
mod values;

use std::path::Path;
use std::time::Duration;

use bytes::Bytes;
use hookbox_conformance::{BrokerHarness, StoreHarness, envelope, with_receipt};
use hookbox_driver::{DeadFilter, DeadReason, Ledger};
use hookbox_event::{ContentDigest, Digester, Envelope};
use hookbox_handlers::sql::{InvalidSettings, Settings, Sql};
use hookbox_worker::{Registered, register};

use crate::embedded::Embedded;
use crate::probe::Pair;
use crate::servers::InPostgres;
use crate::whole::settled;

/// The time limit of a handler that is not slow. It is long, because the machine may be busy.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The setting `parameters` with one parameter, `name`. Its value is the name of the event.
const NAME: &str = r#""parameters":{"name":{"pointer":"/event","type":"text"}}"#;

/// A database with which a user's statements are tested.
pub trait UserDatabase: StoreHarness + 'static {
    /// Makes the handler for this database.
    fn sql(settings: &Settings) -> Result<Registered<Self::Store>, InvalidSettings>;

    /// Returns the one of the two texts that is for this database.
    fn choose<'t>(postgres: &'t str, sqlite: &'t str) -> &'t str;

    /// Runs statements directly on the database, without hookbox.
    async fn execute(&self, statements: &str);

    /// Returns the rows of a query with one column of text.
    async fn rows(&self, query: &str) -> Vec<String>;
}

impl UserDatabase for InPostgres {
    fn sql(settings: &Settings) -> Result<Registered<Self::Store>, InvalidSettings> {
        Sql::<Self::Store>::new(settings, Path::new(".")).map(register)
    }

    fn choose<'t>(postgres: &'t str, _sqlite: &'t str) -> &'t str {
        postgres
    }

    async fn execute(&self, statements: &str) {
        self.database().execute_any(statements).await;
    }

    async fn rows(&self, query: &str) -> Vec<String> {
        let mut connection = self.database().connect().await;
        sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
            .fetch_all(&mut connection)
            .await
            .unwrap()
    }
}

impl UserDatabase for Embedded {
    fn sql(settings: &Settings) -> Result<Registered<Self::Store>, InvalidSettings> {
        Sql::<Self::Store>::new(settings, Path::new(".")).map(register)
    }

    fn choose<'t>(_postgres: &'t str, sqlite: &'t str) -> &'t str {
        sqlite
    }

    async fn execute(&self, statements: &str) {
        let mut connection = self.file().connect().await;
        sqlx::raw_sql(sqlx::AssertSqlSafe(statements.to_owned()))
            .execute(&mut connection)
            .await
            .unwrap();
    }

    async fn rows(&self, query: &str) -> Vec<String> {
        let mut connection = self.file().connect().await;
        sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned()))
            .fetch_all(&mut connection)
            .await
            .unwrap()
    }
}

/// Makes a broker, which is a SQLite file, and a store in PostgreSQL.
pub async fn on_postgres() -> (Embedded, InPostgres) {
    let (brokers, _) = Embedded::pair().await;
    (brokers, InPostgres::new().await)
}

/// Makes the handler with this SQL text. `others` are the other settings, as members of a JSON
/// object.
pub fn handler<S: UserDatabase>(text: &str, others: &str) -> Registered<S::Store> {
    let text = serde_json::Value::from(text);
    let comma = if others.is_empty() { "" } else { "," };
    let settings = format!(r#"{{"statements":{{"text":{text}}}{comma}{others}}}"#);
    S::sql(&serde_json::from_str(&settings).unwrap()).unwrap()
}

/// Makes the event with this name. Its body has these members beside the name.
pub fn event(name: &str, members: &str) -> Envelope {
    let mut event = envelope(name);
    event.body = Bytes::from(format!(r#"{{"event":"{name}",{members}}}"#));
    event.digest = ContentDigest::of_canonical_json(&Digester::Plain, &event.body);
    event
}

/// Returns how each failed attempt on an event ended, and its error.
pub async fn failures<B, S>(pair: &Pair<B, S>, name: &str) -> Vec<(String, String)>
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let id = envelope(name).event.to_string();
    let event = pair.store.event(&id).await.unwrap().unwrap();
    let attempts = event.attempts.into_iter();
    attempts
        .filter(|it| it.outcome != "done")
        .map(|it| (it.outcome.clone(), it.error.unwrap_or_default()))
        .collect()
}

/// Returns the reasons of all dead letters.
pub async fn reasons<B, S>(pair: &Pair<B, S>) -> Vec<DeadReason>
where
    B: BrokerHarness + 'static,
    S: StoreHarness + 'static,
{
    let all = DeadFilter::default();
    let dead = pair.store.dead_list(&all, 0, 99).await.unwrap();
    dead.into_iter().map(|dead| dead.reason).collect()
}

both_databases!(
    each_statement_runs_once_for_each_event,
    the_statements_run_once_for_a_batch,
    a_quoted_semicolon_ends_no_statement,
);

async fn each_statement_runs_once_for_each_event<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    let text = "insert into effects (key) values (:name);
        insert into effects (key) values (:name || '-again');";
    let worker = pair.work_with(handler::<S>(text, NAME), TIME_LIMIT);
    pair.publish(&[envelope("a"), with_receipt("a", 2), envelope("b")])
        .await;
    let books = settled(&pair, |books| books.receipts() == 3).await;
    worker.stop().await;
    assert_eq!((books.done, books.duplicate), (2, 1));
    for key in ["a", "a-again", "b", "b-again"] {
        assert_eq!(pair.stores.effects(key).await, 1, "{key}");
    }
    pair.finish().await;
}

async fn the_statements_run_once_for_a_batch<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    let rows = S::choose(
        "insert into effects (key) select name from unnest(:name) as names (name)",
        "insert into effects (key) select value from json_each(:name)",
    );
    let text = format!("{rows}; insert into effects (key) values ('ran')");
    let handler = handler::<S>(&text, &format!(r#"{NAME},"batch":true"#));
    let events: Vec<_> = (0..20).map(|it| envelope(&format!("e-{it}"))).collect();
    pair.publish(&events).await;
    let worker = pair.work_with(handler, TIME_LIMIT);
    settled(&pair, |books| books.done == 20).await;
    worker.stop().await;
    for number in 0..20 {
        assert_eq!(pair.stores.effects(&format!("e-{number}")).await, 1);
    }
    assert_eq!(pair.stores.effects("ran").await, 1);
    pair.finish().await;
}

async fn a_quoted_semicolon_ends_no_statement<B, S>(pair: Pair<B, S>)
where
    B: BrokerHarness + 'static,
    S: UserDatabase,
{
    let text = S::choose(
        "-- one; two :name\nselect ';:name' /* ; /* :name; */ ; */, E'\\';', $a$;$a$ as \"a;b\";
         insert into effects (key) values ($$;:$$ || :name::text || ';')",
        "-- one; two :name\nselect ';:name' /* ; /* :name; */, 1 as \"a;b\", 2 as [c;d], 3 as `;`;
         insert into effects (key) values (';:' || :name || ';')",
    );
    let handler = handler::<S>(text, NAME);
    pair.check(handler.clone()).await.unwrap();
    let worker = pair.work_with(handler, TIME_LIMIT);
    pair.publish(&[envelope("a")]).await;
    settled(&pair, |books| books.done == 1).await;
    worker.stop().await;
    assert_eq!(pair.stores.effects(";:a;").await, 1);
    pair.finish().await;
}
