//! Tests that nothing of what a handler writes, or of what the database says about it, is logged at
//! any level.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use hookbox_driver::Store;
use sqlx::Executor;
use tracing_subscriber::filter::LevelFilter;

use crate::world::{World, envelope};

/// Collects what the thread of a test logs.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A handler may write values into the text of a statement. A trigger on the table of a handler may
/// raise a warning with the values of a row.
#[tokio::test]
async fn neither_statements_nor_warnings_are_logged() {
    let world = World::new().await;
    world
        .execute(
            "create function warn_of_effect() returns trigger language plpgsql as
             $$ begin raise warning 'unknown key %', new.key; return new; end $$",
        )
        .await;
    world
        .execute(
            "create trigger warn_of_effect before insert on effects
             for each row execute function warn_of_effect()",
        )
        .await;
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_ansi(false)
        .with_max_level(LevelFilter::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    let logging = tracing::subscriber::set_default(subscriber);
    tracing::trace!("the log is read");
    let mut tx = world.store.begin_for_handler().await.unwrap();
    let of = envelope(1, 1, "{}");
    world.claim(&mut tx, &[&of]).await.unwrap();
    let connection = world.store.connection(&mut tx);
    let inserted = sqlx::raw_sql("insert into effects values ('canary')");
    connection.execute(inserted).await.unwrap();
    // After a handler the session is reset, which sets hookbox's own settings again.
    world.store.prove(&mut tx).await.unwrap();
    let connection = world.store.connection(&mut tx);
    let inserted = sqlx::raw_sql("insert into effects values ('canary again')");
    connection.execute(inserted).await.unwrap();
    world.store.rollback(tx).await;
    drop(logging);
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(logged.contains("the log is read"), "{logged}");
    assert!(!logged.contains("canary"), "{logged}");
}
