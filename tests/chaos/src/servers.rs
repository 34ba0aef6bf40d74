//! The private servers of a run, which faults may break. They are started when first needed, and
//! restored after each case.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use anyhow::{Context, Result};
use hookbox_testkit::servers::{PostgresServer, RabbitmqServer};

/// A private PostgreSQL and a private RabbitMQ.
pub struct Servers {
    started: OnceLock<Both>,
}

struct Both {
    postgres: Mutex<PostgresServer>,
    rabbitmq: Mutex<RabbitmqServer>,
    postgres_url: String,
    broker_url: String,
    versions: String,
}

impl Servers {
    /// Returns the servers without starting them.
    pub fn new() -> Self {
        Self {
            started: OnceLock::new(),
        }
    }

    /// Starts both servers, if they do not run yet.
    ///
    /// # Errors
    /// When a server cannot be started.
    pub fn start(&self) -> Result<()> {
        if self.started.get().is_some() {
            return Ok(());
        }
        eprintln!("starting PostgreSQL and RabbitMQ");
        let postgres = PostgresServer::start().context("starting PostgreSQL")?;
        let rabbitmq = RabbitmqServer::start().context("starting RabbitMQ")?;
        let both = Both {
            postgres_url: postgres.url().to_owned(),
            broker_url: rabbitmq.url().to_owned(),
            versions: format!(
                "PostgreSQL {}, RabbitMQ {}",
                postgres.version(),
                rabbitmq.version()
            ),
            postgres: Mutex::new(postgres),
            rabbitmq: Mutex::new(rabbitmq),
        };
        let _ = self.started.set(both);
        Ok(())
    }

    /// Restores servers that a failed case has left frozen, blocked or stopped.
    ///
    /// # Errors
    /// When a server cannot be restarted.
    pub fn heal(&self) -> Result<()> {
        if self.started.get().is_none() {
            return Ok(());
        }
        let (mut postgres, mut rabbitmq) = (self.postgres(), self.rabbitmq());
        // SIGCONT is harmless for a server that was never stopped, and fails only when it has
        // ended.
        if postgres.cont().is_err() {
            postgres.restart().context("starting PostgreSQL again")?;
        }
        if rabbitmq.cont().is_err() {
            rabbitmq.restart().context("starting RabbitMQ again")?;
        }
        Ok(())
    }

    /// Returns what PostgreSQL has logged about crashes of its own processes; `None` if there were
    /// none.
    pub fn crashes(&self) -> Option<String> {
        self.started.get()?;
        Some(self.postgres().crashes()).filter(|lines| !lines.is_empty())
    }

    fn both(&self) -> &Both {
        match self.started.get() {
            Some(both) => both,
            None => unreachable!("a case must start the servers before it uses them"),
        }
    }

    /// Returns the URL of the maintenance database of PostgreSQL.
    pub fn postgres_url(&self) -> String {
        self.both().postgres_url.clone()
    }

    /// Returns the URL of RabbitMQ.
    pub fn broker_url(&self) -> String {
        self.both().broker_url.clone()
    }

    /// Returns the versions of the servers, if they were started.
    pub fn versions(&self) -> Option<&str> {
        self.started.get().map(|both| both.versions.as_str())
    }

    /// Returns PostgreSQL, to inflict faults on it.
    pub fn postgres(&self) -> MutexGuard<'_, PostgresServer> {
        let server = &self.both().postgres;
        server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns RabbitMQ, to inflict faults on it.
    pub fn rabbitmq(&self) -> MutexGuard<'_, RabbitmqServer> {
        let server = &self.both().rabbitmq;
        server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
