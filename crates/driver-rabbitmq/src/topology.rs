//! Every queue and every argument, declared here only. `schemas/topology.json` is this file's
//! output (beside an anchor that comes and goes); nothing here deletes or redeclares any of them.
//!
//! A batch is published through the default exchange to the queue of each route by name. That
//! binding cannot be removed, and a missing queue is always told by a return. A topic exchange
//! would be worse on both counts: a binding can be removed, and another queue that takes the same
//! topic hides it; and `*_score` is no AMQP pattern.

use std::collections::BTreeMap;

use hookbox_driver::{OpenError, TopologyDifference};
use hookbox_event::{EnvironmentName, RouteName};
use lapin::protocol::{AMQPErrorKind, AMQPSoftError};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ErrorKind};

use crate::anchor::drop_anchor;
use crate::examine::{Asker, Declared, Round};

/// How often RabbitMQ may deliver a message in vain before it goes to the dead queue. Explicit,
/// because the default is none before 4.0 and 20 after, and what counts differs. Far above our
/// own attempts, which are counted in the store.
const DELIVERY_LIMIT: i64 = 1_000;

/// The limit of the queues of dead letters and of accounts. They have nowhere to send to, so
/// reaching it would drop messages; leaving it out means 20 on RabbitMQ 4, and "unlimited" (-1)
/// means none at all on 3.10.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// A queue as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDeclaration {
    /// Its name.
    pub name: String,
    /// Its arguments: texts and numbers.
    pub arguments: BTreeMap<&'static str, Argument>,
}

/// An argument of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Argument {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

/// All queues of one environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topology {
    /// Route queues in the order of the routes, then those of accounts and of dead letters. All
    /// durable.
    pub queues: Vec<QueueDeclaration>,
}

/// The name of a route's queue.
pub(crate) fn route_queue(environment: &EnvironmentName, route: &RouteName) -> String {
    format!("hookbox.{environment}.route.{route}")
}

/// The name of the dead-letter queue.
pub(crate) fn dead_queue(environment: &EnvironmentName) -> String {
    format!("hookbox.{environment}.dead")
}

/// The name of the queue of accounts.
pub(crate) fn accounts_queue(environment: &EnvironmentName) -> String {
    format!("hookbox.{environment}.accounts")
}

/// The queues of an environment with these routes.
pub fn topology(environment: &EnvironmentName, routes: &[RouteName]) -> Topology {
    let text = |text: &str| Argument::Text(text.to_owned());
    // Quorum queues alone confirm after an fsync on a majority (H6); a full queue must reject,
    // not drop its oldest; and only then is dead-lettering at least once.
    let common = [
        ("x-queue-type", text("quorum")),
        ("x-overflow", text("reject-publish")),
    ];
    let route = |route| QueueDeclaration {
        name: route_queue(environment, route),
        arguments: common
            .iter()
            .cloned()
            .chain([
                ("x-delivery-limit", Argument::Number(DELIVERY_LIMIT)),
                ("x-dead-letter-exchange", text("")),
                (
                    "x-dead-letter-routing-key",
                    Argument::Text(dead_queue(environment)),
                ),
                ("x-dead-letter-strategy", text("at-least-once")),
            ])
            .collect(),
    };
    let dead = QueueDeclaration {
        name: dead_queue(environment),
        arguments: common
            .iter()
            .cloned()
            .chain([("x-delivery-limit", Argument::Number(DEAD_DELIVERY_LIMIT))])
            .collect(),
    };
    let accounts = QueueDeclaration {
        name: accounts_queue(environment),
        ..dead.clone()
    };
    Topology {
        queues: routes.iter().map(route).chain([accounts, dead]).collect(),
    }
}

impl QueueDeclaration {
    pub(crate) fn table(&self) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in &self.arguments {
            let value = match value {
                Argument::Text(text) => AMQPValue::LongString(text.as_str().into()),
                Argument::Number(number) => AMQPValue::LongLongInt(*number),
            };
            table.insert((*name).into(), value);
        }
        table
    }
}

/// What verifying found.
pub(crate) enum Verified {
    /// All as declared; these queues were missing and were declared now.
    Good { declared: Vec<String> },
    /// These are gone, and were not to be declared.
    Missing(Vec<String>),
    /// Not as declared.
    Different(Vec<TopologyDifference>),
}

/// What to do about queues that are missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Declare them: somebody starts hookbox.
    Declare,
    /// Tell: they were there, and whoever deleted them must know what was in them.
    Tell,
}

/// Compares every queue that exists with its declaration, then declares those that are missing, if
/// that is wanted. All differences are told at once, and before anything is declared.
pub(crate) async fn verify(
    connection: &Connection,
    environment: &EnvironmentName,
    topology: &Topology,
    absent: Absent,
) -> Result<Verified, lapin::Error> {
    let round = Round::over(&topology.queues);
    round.run(connection).await?;
    let mut differences = round.differences();
    if !differences.is_empty() {
        return Ok(Verified::Different(differences));
    }
    let missing = round.missing();
    let mut declared = Vec::new();
    match absent {
        Absent::Tell if missing.is_empty() => return Ok(Verified::Good { declared }),
        Absent::Tell => {
            let names = missing.into_iter().map(|queue| queue.name.clone());
            return Ok(Verified::Missing(names.collect()));
        }
        Absent::Declare => {}
    }
    // The dead queue first: dead-lettering must have somewhere to go before a route has messages.
    let mut asker = Asker::new(connection);
    for queue in missing.into_iter().rev() {
        match asker.declare(queue).await? {
            Declared::Different(difference) => differences.push(difference),
            Declared::Same(_) => declared.push(queue.name.clone()),
        }
    }
    anchor(connection, environment, declared.is_empty()).await?;
    Ok(if differences.is_empty() {
        Verified::Good { declared }
    } else {
        Verified::Different(differences)
    })
}

/// At every start, also where all queues were there: whoever declared them may have died before
/// its anchor, and nobody can tell by looking. Where nothing was declared now, one who may declare
/// nothing else has to do without.
async fn anchor(
    connection: &Connection,
    environment: &EnvironmentName,
    nothing_declared: bool,
) -> Result<(), lapin::Error> {
    match drop_anchor(connection, environment).await {
        Err(error) if nothing_declared && is_refused(&error) => {
            tracing::warn!(
                error = %error,
                "the queue that is declared last may lose what is in it when the broker is killed \
                 soon after: this account must not declare the anchor behind it (H14)"
            );
            Ok(())
        }
        dropped => dropped,
    }
}

/// Whether we may not even ask.
pub(crate) fn is_refused(error: &lapin::Error) -> bool {
    matches!(soft_error(error), Some((AMQPSoftError::ACCESSREFUSED, _)))
}

/// The broker's own words for a channel error.
pub(crate) fn soft_error(error: &lapin::Error) -> Option<(AMQPSoftError, String)> {
    let ErrorKind::ProtocolError(error) = error.kind() else {
        return None;
    };
    match error.kind() {
        AMQPErrorKind::Soft(kind) => Some((kind.clone(), error.get_message().to_string())),
        AMQPErrorKind::Hard(_) => None,
    }
}

impl From<Vec<TopologyDifference>> for TopologyError {
    fn from(differences: Vec<TopologyDifference>) -> Self {
        Self(differences)
    }
}

/// Differences on their way to an [`OpenError`].
pub(crate) struct TopologyError(pub Vec<TopologyDifference>);

impl From<TopologyError> for OpenError {
    fn from(error: TopologyError) -> Self {
        OpenError::Topology(error.0)
    }
}
