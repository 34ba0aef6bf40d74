//! Every queue and every argument, declared here only. `schemas/topology.json` is this file's
//! output (beside an anchor that is declared and expires); nothing here deletes or redeclares any
//! of them.
//!
//! A batch is published through the default exchange to the queue of each route by name. That
//! binding cannot be removed, and a missing queue always causes a return. A topic exchange would be
//! worse on both counts: a binding can be removed, and another queue that takes the same topic
//! hides it; and `*_score` is no AMQP pattern.

use std::collections::BTreeMap;

use hookbox_driver::{Queue, WITNESSES_KEPT};
use hookbox_event::{EnvironmentName, RouteName};
use lapin::types::{AMQPValue, FieldTable};

/// How often RabbitMQ may deliver a message without a settlement before it moves to the dead queue.
/// Explicit, because the default is none before 4.0 and 20 after, and what counts differs. Far
/// above our own attempts, which are counted in the store.
const DELIVERY_LIMIT: i64 = 1_000;

/// The limit of the queues of dead letters and of accept reports. They have no dead-letter target,
/// so reaching it would drop messages; leaving it out means 20 on RabbitMQ 4, and "unlimited" (-1)
/// means none at all on 3.10.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// A queue as it must be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDeclaration {
    /// What it is for.
    pub queue: Queue,
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
    /// Route queues in the order of the routes, then those of witnesses, accept reports and dead
    /// letters. All durable.
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

/// The name of the queue of accept reports.
pub(crate) fn accounts_queue(environment: &EnvironmentName) -> String {
    format!("hookbox.{environment}.accounts")
}

/// The name of the queue of witnesses.
pub(crate) fn witness_queue(environment: &EnvironmentName) -> String {
    format!("hookbox.{environment}.witness")
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
    let route = |route: &RouteName| QueueDeclaration {
        queue: Queue::Route(route.clone()),
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
        queue: Queue::Dead,
        name: dead_queue(environment),
        arguments: common
            .iter()
            .cloned()
            .chain([("x-delivery-limit", Argument::Number(DEAD_DELIVERY_LIMIT))])
            .collect(),
    };
    let accounts = QueueDeclaration {
        queue: Queue::Accounts,
        name: accounts_queue(environment),
        ..dead.clone()
    };
    // The one queue that may drop messages: each newer witness makes the oldest worthless. Reading
    // counts as a delivery, so its limit is as good as none, too.
    let witness = QueueDeclaration {
        queue: Queue::Witness,
        name: witness_queue(environment),
        arguments: BTreeMap::from([
            ("x-queue-type", text("quorum")),
            ("x-overflow", text("drop-head")),
            ("x-max-length", Argument::Number(WITNESSES_KEPT.into())),
            ("x-delivery-limit", Argument::Number(DEAD_DELIVERY_LIMIT)),
        ]),
    };
    Topology {
        queues: routes
            .iter()
            .map(route)
            .chain([witness, accounts, dead])
            .collect(),
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
