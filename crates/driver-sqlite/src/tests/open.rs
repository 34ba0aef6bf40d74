//! Opening and migrating a file: which files are refused, and which settings SQLite then has.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::{Migrated, ends_by_itself, plan};
use hookbox_driver::{OpenError, Queue};

#[tokio::test]
async fn a_file_is_made_only_for_its_owner() {
    let world = World::new();
    let to = crate::migrate::newest();
    assert_eq!(
        plan(world.options()).await.unwrap(),
        Migrated { from: 0, to }
    );
    assert!(
        !world.path().exists(),
        "planning a migration must not create the file"
    );
    let migrated = migrate(world.options()).await.unwrap();
    assert_eq!(migrated, Migrated { from: 0, to });
    assert_eq!(
        plan(world.options()).await.unwrap(),
        Migrated { from: to, to }
    );
    let again = migrate(world.options()).await.unwrap();
    assert_eq!(again, Migrated { from: to, to });
    let driver = world.open().await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    for name in ["hookbox.db", "hookbox.db-wal", "hookbox.db-shm"] {
        let mode = std::fs::metadata(world.folder.join(name))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
    }
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn the_settings_are_in_force_on_every_kind_of_connection() {
    let world = World::new();
    let driver = world.open().await;
    let settings =
        "select sqlite_version() || ' ' || (select journal_mode from pragma_journal_mode)
         || ' ' || (select synchronous from pragma_synchronous)
         || ' ' || (select foreign_keys from pragma_foreign_keys)
         || ' ' || (select timeout from pragma_busy_timeout)
         || ' ' || (select query_only from pragma_query_only)";
    let mut tx = driver.begin().await.unwrap();
    let writer: String = sqlx::query_scalar(settings)
        .fetch_one(driver.connection(&mut tx))
        .await
        .unwrap();
    let mapped: i64 = sqlx::query_scalar("pragma mmap_size")
        .fetch_one(driver.connection(&mut tx))
        .await
        .unwrap();
    driver.rollback(tx).await;
    assert_eq!(writer, "3.51.3 wal 2 1 3 0");
    assert_eq!(mapped, 0);
    let mut reader = driver.shared.readers.take().await.unwrap();
    let read: String = sqlx::query_scalar(settings)
        .fetch_one(&mut *reader)
        .await
        .unwrap();
    assert_eq!(read, "3.51.3 wal 2 1 3000 1");
    let refused = sqlx::query("delete from meta")
        .execute(&mut *reader)
        .await
        .unwrap_err();
    assert!(refused.to_string().contains("readonly"), "{refused}");
    drop(reader);
    close(driver).await;
    world.end().await;
}

/// The file still holds messages for a route that is no longer in the config. The queue of that
/// route must be reported.
#[tokio::test]
async fn unknown_queues_are_reported() {
    let world = World::new();
    let driver = world.open().await;
    let routes = [route("a"), route("b")];
    driver.publish(&routes, &batch([1, 2])).await.unwrap();
    assert_eq!(driver.unknown_queues().await.unwrap().len(), 0);
    close(driver).await;
    let driver = world
        .open_with(|options| options.routes = vec![route("a")])
        .await;
    let unknown = driver.unknown_queues().await.unwrap();
    assert_eq!(unknown, [("hookbox.test.route.b".to_owned(), 2)].into());
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn only_what_is_locked_or_full_ends_by_itself() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    let lock = world.lock().await;
    let locked = migrate(world.options()).await.unwrap_err();
    assert!(ends_by_itself(&locked), "{locked:?}");
    lock.close().await.unwrap();
    for kind in [
        std::io::ErrorKind::StorageFull,
        std::io::ErrorKind::NotFound,
    ] {
        let source = std::io::Error::from(kind).into();
        let error = OpenError::Unavailable { what: "x", source };
        let is_full = kind == std::io::ErrorKind::StorageFull;
        assert_eq!(ends_by_itself(&error), is_full);
    }
    let mut nowhere = world.options();
    nowhere.path = world.folder.join("no").join("such.db");
    let error = migrate(nowhere).await.unwrap_err();
    assert!(!ends_by_itself(&error), "{error:?}");
    std::fs::write(world.path(), [1; 8192]).unwrap();
    let error = migrate(world.options()).await.unwrap_err();
    assert!(!ends_by_itself(&error), "{error:?}");
    world.end().await;
}

#[tokio::test]
async fn a_file_that_is_not_there_is_not_made() {
    let world = World::new();
    let error = Sqlite::open(world.options()).await.err().unwrap();
    assert!(matches!(error, OpenError::Refused { .. }), "{error}");
    let said = error.to_string();
    assert!(said.contains(world.path().to_str().unwrap()), "{said}");
    assert!(said.contains("`hookbox migrate`"), "{said}");
    assert!(!world.path().exists());
    world.end().await;
}

/// A process that ends while it creates the file leaves an empty one, with or without the page that
/// holds the journal mode. A file with any table is not empty.
#[tokio::test]
async fn a_file_whose_creation_was_interrupted_is_empty() {
    let world = World::new();
    let is_empty = async || crate::is_empty(&world.options()).await.unwrap();
    assert!(!is_empty().await);
    assert!(!world.path().exists());
    std::fs::write(world.path(), "").unwrap();
    assert!(is_empty().await);
    world.execute("pragma journal_mode = wal").await;
    assert!(std::fs::metadata(world.path()).unwrap().len() > 0);
    assert!(is_empty().await);
    close(world.open().await).await;
    assert!(!is_empty().await);
    std::fs::remove_file(world.path()).unwrap();
    std::fs::write(world.path(), "").unwrap();
    world.execute("create table theirs (n integer)").await;
    assert!(!is_empty().await);
    world.end().await;
}

#[tokio::test]
async fn an_older_or_newer_schema_is_refused() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    let newest = crate::migrate::newest();
    world
        .execute(
            "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
             select 1 + max(version), 'later', true, x'00', 0 from _sqlx_migrations",
        )
        .await;
    // The newer migration has only added things, so this version can still use the file.
    let there = newest + 1;
    let nothing = Migrated {
        from: there,
        to: there,
    };
    assert_eq!(migrate(world.options()).await.unwrap(), nothing);
    assert_eq!(plan(world.options()).await.unwrap(), nothing);
    let driver = Sqlite::open(world.options()).await.unwrap();
    Store::ping(&driver).await.unwrap();
    Store::close(&driver).await;
    // Now a migration of a newer version has removed something, so this version must refuse the
    // file.
    world
        .execute("update meta set value = 9999 where key = 'works_from'")
        .await;
    for refused in [
        Sqlite::open(world.options()).await.err().unwrap(),
        migrate(world.options()).await.unwrap_err(),
    ] {
        assert!(
            matches!(refused, OpenError::SchemaNewer { found, wanted }
                if found == newest + 1 && wanted == newest),
            "{refused}"
        );
    }
    world.execute("delete from _sqlx_migrations").await;
    let refused = Sqlite::open(world.options()).await.err().unwrap();
    assert!(
        matches!(refused, OpenError::SchemaOlder { found: 0, .. }),
        "{refused}"
    );
    world.end().await;
}

#[tokio::test]
async fn a_migration_of_another_build_is_refused() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    world
        .execute("update _sqlx_migrations set checksum = x'00' where version = 1")
        .await;
    let refused = migrate(world.options()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Unsafe { .. }), "{refused}");
    world.end().await;
}

#[tokio::test]
async fn the_file_of_another_environment_is_refused() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    let mut options = world.options();
    options.environment = "production".parse().unwrap();
    for refused in [
        Sqlite::open(options.clone()).await.err().unwrap(),
        migrate(options.clone()).await.unwrap_err(),
    ] {
        let OpenError::Environment { found, wanted, .. } = refused else {
            panic!("{refused}");
        };
        assert_eq!((found.as_str(), wanted.as_str()), ("test", "production"));
    }
    world.end().await;
}

#[tokio::test]
async fn a_file_without_a_log_is_refused() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    world.execute("pragma journal_mode = delete").await;
    let refused = Sqlite::open(world.options()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Unsafe { .. }), "{refused}");
    assert!(refused.to_string().contains("journal_mode"), "{refused}");
    // Migrating sets the journal mode back to WAL.
    close(world.open().await).await;
    world.end().await;
}

/// The backup is made while the file is open. It is not in WAL mode, so it is refused with the
/// command that changes this.
#[tokio::test]
async fn a_backup_by_vacuum_opens_after_a_migration() {
    let world = World::new();
    let driver = world.open().await;
    driver.publish(&[route("a")], &batch([1])).await.unwrap();
    process(&driver, "a", &[&envelope(2)]).await;
    let backup = world.folder.join("backup.db");
    let mut connection = world.meddle().await;
    sqlx::query("vacuum into ?1")
        .bind(backup.to_str().unwrap())
        .execute(&mut connection)
        .await
        .unwrap();
    connection.close().await.unwrap();
    close(driver).await;
    std::fs::rename(&backup, world.path()).unwrap();
    let refused = Sqlite::open(world.options()).await.err().unwrap();
    assert!(matches!(refused, OpenError::Unsafe { .. }), "{refused}");
    let said = refused.to_string();
    assert!(said.contains("run `hookbox migrate`"), "{said}");
    // `hookbox migrate` does not know the file of a spool.
    let mut of_a_spool = world.options();
    of_a_spool.exclusive = true;
    let refused = Sqlite::open(of_a_spool).await.err().unwrap().to_string();
    assert!(!refused.contains("hookbox migrate"), "{refused}");
    let driver = world.open().await;
    let again = process(&driver, "a", &[&another_receipt(2, 1)]).await;
    assert_eq!(again, [Claimed::Duplicate]);
    let queue = Queue::Route(route("a"));
    let mut subscription = driver.subscribe(&queue, 1).await.unwrap();
    assert_eq!(drain(&mut subscription, 1..2).await, 1);
    subscription.close().await;
    close(driver).await;
    world.end().await;
}

#[tokio::test]
async fn a_file_that_is_no_database_is_refused_and_not_changed() {
    let world = World::new();
    let text = "not a database, but something that somebody wants to keep\n".repeat(100);
    std::fs::write(world.path(), &text).unwrap();
    all_refuse(&world.options(), "is not a SQLite database").await;
    assert_eq!(std::fs::read_to_string(world.path()).unwrap(), text);
    let mut other = world.options();
    other.path = world.folder.join("no/such/folder/hookbox.db");
    all_refuse(&other, "lies in a folder that does not exist").await;
    other.path = world.folder.clone();
    all_refuse(&other, "is a folder").await;
    other.path = world.folder.join("pipe");
    let made = std::process::Command::new("mkfifo")
        .arg(&other.path)
        .status();
    assert!(made.unwrap().success());
    all_refuse(&other, "is not a file").await;
    world.end().await;
}

/// Checks that `open`, `migrate` and `plan` return an error which contains the path and these
/// words.
async fn all_refuse(options: &Options, words: &str) {
    for refused in [
        Sqlite::open(options.clone()).await.err().unwrap(),
        migrate(options.clone()).await.unwrap_err(),
        plan(options.clone()).await.unwrap_err(),
    ] {
        assert!(matches!(refused, OpenError::Refused { .. }), "{refused}");
        let said = refused.to_string();
        assert!(said.contains(options.path.to_str().unwrap()), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[tokio::test]
async fn a_file_is_marked_once() {
    let world = World::new();
    migrate(world.options()).await.unwrap();
    let birth = async || {
        let mut connection = world.meddle().await;
        let birth = crate::meta::birth(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        birth
    };
    let first = birth().await.unwrap();
    assert_eq!(first.len(), 32);
    migrate(world.options()).await.unwrap();
    assert_eq!(birth().await.as_ref(), Some(&first));
    // A file from a version that wrote no mark can be opened, and gets its mark from the next
    // migration.
    world.execute("delete from meta where key = 'birth'").await;
    close(Sqlite::open(world.options()).await.unwrap()).await;
    assert_eq!(birth().await, None);
    migrate(world.options()).await.unwrap();
    assert_ne!(birth().await.unwrap(), first);
    world.end().await;
}

#[tokio::test]
async fn two_that_migrate_at_once_agree() {
    let world = World::new();
    let mut options = world.options();
    options.busy_timeout = PATIENCE;
    let both = tokio::join!(migrate(options.clone()), migrate(options.clone()));
    let (one, two) = (both.0.unwrap(), both.1.unwrap());
    assert_eq!(one.to, two.to);
    assert_eq!(one.from.min(two.from), 0);
    assert_eq!(
        one.from.max(two.from),
        one.to,
        "one call must migrate the file, and the other must find it migrated"
    );
    close(world.open().await).await;
    world.end().await;
}
