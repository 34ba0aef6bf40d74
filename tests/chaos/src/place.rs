//! The store and the broker that the processes of one case use, and the proxies in front of both.

use anyhow::{Context, Result};
use hookbox_testkit::proxy::Proxy;
use hookbox_testkit::servers::folder::Folder;
use hookbox_testkit::servers::{RabbitmqCluster, ports};

use crate::servers::Servers;
use crate::sql::Sql;
use crate::user_route::SIGNING_KEY;

/// The key that signs requests. No log may contain it.
pub const KEY: &str = "chaos-key-that-must-never-be-logged";

/// The store and the broker of one case, with the proxies in front of them.
pub struct Place {
    /// Direct access to the store, without a proxy.
    pub sql: Sql,
    /// The proxy in front of the broker for all services; `None` for an SQLite file or a cluster.
    pub to_broker: Option<Proxy>,
    /// The proxy in front of the store; `None` for an SQLite file.
    pub to_store: Option<Proxy>,
    /// The URL of the RabbitMQ server itself, not of the proxy in front of it; `None` for an SQLite
    /// file or a cluster.
    pub broker: Option<String>,
    /// The URL of the PostgreSQL server, and the name of the database on it that is removed when
    /// the case ends; `None` for an SQLite file.
    pub(crate) database: Option<(String, String)>,
    /// The texts that no log may contain.
    pub(crate) secrets: Vec<String>,
}

impl Place {
    /// Uses one SQLite file as broker and store.
    ///
    /// # Errors
    /// When no async runtime can be built.
    pub fn in_a_file(folder: &Folder) -> Result<Self> {
        Ok(Self {
            sql: Sql::sqlite(&folder.path().join("hookbox.db"))?,
            to_broker: None,
            to_store: None,
            broker: None,
            database: None,
            secrets: vec![KEY.to_owned(), SIGNING_KEY.to_owned()],
        })
    }

    /// Creates a new database on the private servers. The URLs of the proxies in front of the
    /// servers are written to the files `store` and `broker`.
    ///
    /// # Errors
    /// When a server returns an error.
    pub fn on_servers(servers: &Servers, folder: &Folder) -> Result<Self> {
        servers.start()?;
        let mut place = Self::on_postgres(servers, folder)?;
        let broker = servers.broker_url();
        let to_broker =
            Proxy::before(&broker).context("starting a proxy in front of the broker")?;
        folder.write("broker", &to_broker.url(&broker))?;
        place.secrets.extend(password(&broker));
        place.to_broker = Some(to_broker);
        place.broker = Some(broker);
        Ok(place)
    }

    /// Creates a new database, and uses a cluster without a proxy. The file `broker` names all of
    /// its nodes, and the file `broker-2` only the nodes in `second`.
    ///
    /// # Errors
    /// When a server returns an error.
    pub fn on_cluster(
        servers: &Servers,
        cluster: &RabbitmqCluster,
        second: &[u8],
        folder: &Folder,
    ) -> Result<Self> {
        let mut place = Self::on_postgres(servers, folder)?;
        folder.write("broker", &cluster.url(&[1, 2, 3]))?;
        folder.write("broker-2", &cluster.url(second))?;
        place.secrets.push(cluster.password().to_owned());
        Ok(place)
    }

    fn on_postgres(servers: &Servers, folder: &Folder) -> Result<Self> {
        let postgres = servers.postgres_url();
        let name = format!("chaos_{}", &ports::random_name()?[..12]);
        Sql::postgres(&postgres)?.run(&format!("create database {name}"))?;
        let (server, _) = postgres
            .rsplit_once('/')
            .context("the URL of PostgreSQL must name a database")?;
        let url = format!("{server}/{name}");
        let to_store = Proxy::before(&url).context("starting a proxy in front of the store")?;
        folder.write("store", &to_store.url(&url))?;
        let keys = [KEY.to_owned(), SIGNING_KEY.to_owned()];
        let secrets = password(&postgres).into_iter().chain(keys);
        Ok(Self {
            sql: Sql::postgres(&url)?,
            to_store: Some(to_store),
            to_broker: None,
            broker: None,
            database: Some((postgres, name)),
            secrets: secrets.collect(),
        })
    }
}

/// Returns the password in a URL.
fn password(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (account, _) = rest.rsplit_once('@')?;
    account.split_once(':').map(|(_, word)| word.to_owned())
}
