//! A private SQLite file for one test.

use std::path::{Path, PathBuf};

use hookbox_driver_sqlite::{Options, Sqlite, migrate};
use hookbox_event::{EnvironmentName, RouteName};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, SqliteConnection};
use tokio::sync::Mutex;

use crate::{random_environment, random_name};

pub struct SqliteWorld {
    pub folder: PathBuf,
    pub environment: EnvironmentName,
    pub routes: Vec<RouteName>,
    /// The connection that holds the file's only write lock while the store is severed.
    lock: Mutex<Option<SqliteConnection>>,
}

impl SqliteWorld {
    pub async fn new(routes: &[&str]) -> Self {
        Self::within(&std::env::temp_dir(), routes).await
    }

    /// Makes the SQLite file in a new folder within `place`.
    pub async fn within(place: &Path, routes: &[&str]) -> Self {
        let folder = place.join(random_name("hookbox-test"));
        std::fs::create_dir(&folder).unwrap();
        let routes = routes.iter().map(|route| route.parse().unwrap()).collect();
        let lock = Mutex::new(None);
        let world = Self {
            folder,
            environment: random_environment(),
            routes,
            lock,
        };
        migrate(world.options()).await.unwrap();
        world
            .execute("create table effects (key text not null)")
            .await;
        world
    }

    pub fn path(&self) -> PathBuf {
        self.folder.join("hookbox.db")
    }

    pub fn options(&self) -> Options {
        Options::new(self.path(), self.environment.clone(), self.routes.clone())
    }

    pub async fn open(&self) -> Sqlite {
        Sqlite::open(self.options()).await.unwrap()
    }

    /// Opens a connection that bypasses the driver.
    pub async fn connect(&self) -> SqliteConnection {
        let patience = std::time::Duration::from_secs(20);
        SqliteConnectOptions::new()
            .filename(self.path())
            .busy_timeout(patience)
            .connect()
            .await
            .unwrap()
    }

    pub async fn execute(&self, statement: &'static str) {
        let mut connection = self.connect().await;
        sqlx::query(statement)
            .execute(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
    }

    pub async fn count(&self, statement: &'static str, key: &str) -> u64 {
        let mut connection = self.connect().await;
        let count: i64 = sqlx::query_scalar(statement)
            .bind(key)
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        u64::try_from(count).unwrap()
    }

    /// Takes the write lock on another connection, so that the driver cannot write.
    pub async fn sever(&self) {
        let mut connection = self.connect().await;
        sqlx::query("begin immediate")
            .execute(&mut connection)
            .await
            .unwrap();
        *self.lock.lock().await = Some(connection);
    }

    pub async fn restore(&self) {
        if let Some(mut connection) = self.lock.lock().await.take() {
            sqlx::query("rollback")
                .execute(&mut connection)
                .await
                .unwrap();
            connection.close().await.unwrap();
        }
    }

    /// Checks the integrity of the file, and removes it.
    pub async fn finish(self) {
        self.restore().await;
        let mut connection = self.connect().await;
        let whole: String = sqlx::query_scalar("pragma integrity_check")
            .fetch_one(&mut connection)
            .await
            .unwrap();
        connection.close().await.unwrap();
        assert_eq!(whole, "ok");
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

impl Drop for SqliteWorld {
    fn drop(&mut self) {
        // The folder still exists only when the test has failed: `finish` removes it otherwise.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
