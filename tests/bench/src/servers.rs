//! The private PostgreSQL and RabbitMQ that all cases of a run use.

use anyhow::{Context, Result};
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer, find};
use serde_json::{Value, json};

/// What is added to an error when a server cannot be started. The bench never uses servers that the
/// caller names, because figures of servers on another machine would not describe this machine.
const PRIVATE: &str = "the bench needs private servers of its own on this machine";

/// The settings of PostgreSQL that differ from its defaults. With `track_commit_timestamp`, the
/// time of every commit can be read afterwards, so that nothing has to poll the tables while they
/// are written. It costs ten bytes a transaction. The floors are measured with the same settings.
const POSTGRES: &[(&str, &str)] = &[("track_commit_timestamp", "on")];

/// The running servers. Dropping this ends them.
pub(crate) struct Servers {
    pub postgres: String,
    pub amqp: String,
    _postgres: PostgresServer,
    _rabbitmq: RabbitmqServer,
    versions: Value,
}

impl Servers {
    pub fn start() -> Result<Servers> {
        eprintln!("starting PostgreSQL and RabbitMQ");
        let found = find::postgres().context(PRIVATE)?;
        let postgres = PostgresServer::start_found(&found, POSTGRES).context(PRIVATE)?;
        let rabbitmq = RabbitmqServer::start().context(PRIVATE)?;
        Ok(Servers {
            postgres: postgres.url().to_owned(),
            amqp: rabbitmq.url().to_owned(),
            versions: json!({
                "PostgreSQL": postgres.version().to_string(),
                "RabbitMQ": rabbitmq.version().to_string(),
            }),
            _postgres: postgres,
            _rabbitmq: rabbitmq,
        })
    }

    /// Returns the versions by the name of the server.
    pub fn versions(&self) -> &Value {
        &self.versions
    }
}
