//! The store and the broker of one case, and the proxies in front of them.

use anyhow::{Context, Result};
use hookbox_testkit::servers::folder::Folder;
use hookbox_testkit::servers::{RabbitmqCluster, ports};

use crate::proxy::Proxy;
use crate::servers::Servers;
use crate::sql::Sql;

/// The key that signs, and that must be in no log.
pub const KEY: &str = "chaos-key-that-must-never-be-logged";

/// Where a case's events are.
pub struct Place {
    /// The store, past every proxy.
    pub sql: Sql,
    /// In front of the broker, for ingests and workers alike; none for a file or a cluster.
    pub to_broker: Option<Proxy>,
    /// In front of the store; none for a file.
    pub to_store: Option<Proxy>,
    /// The server's URL and the database to remove.
    pub(crate) database: Option<(String, String)>,
    /// Texts that must be in no log.
    pub(crate) secrets: Vec<String>,
}

impl Place {
    /// An SQLite file for everything.
    ///
    /// # Errors
    /// When there is no runtime to be had.
    pub fn in_a_file(folder: &Folder) -> Result<Self> {
        Ok(Self {
            sql: Sql::sqlite(&folder.path().join("hookbox.db"))?,
            to_broker: None,
            to_store: None,
            database: None,
            secrets: vec![KEY.to_owned()],
        })
    }

    /// A database of its own on the private servers. Their URLs, through proxies, are written
    /// into the files `store` and `broker`.
    ///
    /// # Errors
    /// When a server refuses.
    pub fn on_servers(servers: &Servers, folder: &Folder) -> Result<Self> {
        servers.start()?;
        let mut place = Self::on_postgres(servers, folder)?;
        let broker = servers.broker_url();
        let to_broker = Proxy::before(servers.broker_port()).context("a proxy")?;
        folder.write(
            "broker",
            &through(&broker, servers.broker_port(), &to_broker),
        )?;
        place.secrets.extend(password(&broker));
        place.to_broker = Some(to_broker);
        Ok(place)
    }

    /// A database of its own, and a cluster without a proxy: all of its nodes in the file `broker`,
    /// and these alone in `broker-2`.
    ///
    /// # Errors
    /// When a server refuses.
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
        let (server, _) = postgres.rsplit_once('/').context("the URL of PostgreSQL")?;
        let url = format!("{server}/{name}");
        let to_store = Proxy::before(servers.postgres_port()).context("a proxy")?;
        folder.write("store", &through(&url, servers.postgres_port(), &to_store))?;
        let secrets = password(&postgres).into_iter().chain([KEY.to_owned()]);
        Ok(Self {
            sql: Sql::postgres(&url)?,
            to_store: Some(to_store),
            to_broker: None,
            database: Some((postgres, name)),
            secrets: secrets.collect(),
        })
    }
}

/// The URL of a server, by way of a proxy.
fn through(url: &str, of: u16, proxy: &Proxy) -> String {
    url.replacen(&format!(":{of}/"), &format!(":{}/", proxy.port()), 1)
}

/// The password in a URL.
fn password(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let (account, _) = rest.rsplit_once('@')?;
    account.split_once(':').map(|(_, word)| word.to_owned())
}
