//! Declares every queue and every argument; no other file does. `schemas/topology.json` is this
//! file's output (without the anchor, which expires). Nothing here deletes or redeclares a queue.
//!
//! A batch is published by name through the default exchange to the queue of each route. The
//! default exchange's bindings cannot be removed, and a missing queue always causes a return. A
//! topic exchange is worse in both respects: a binding can be removed, and another queue with the
//! same topic hides the loss. Besides, `*_score` is not a valid AMQP pattern.

use std::collections::BTreeMap;

use hookbox_driver::{Queue, WITNESSES_KEPT};
use hookbox_event::{EnvironmentName, RouteName};
use lapin::types::{AMQPValue, FieldTable};

/// How often RabbitMQ may deliver a message without a settlement before it moves to the dead-letter
/// queue. It is set explicitly, because the default is none before 4.0 and 20 after, and versions
/// count differently. It is far above the number of attempts, which the store counts.
const DELIVERY_LIMIT: i64 = 1_000;

/// The delivery limit of the queues of dead letters and of accept reports. They have no dead-letter
/// target, so a message that reaches the limit is dropped. Without this argument, the limit is 20
/// on RabbitMQ 4; "unlimited" (-1) means no delivery at all on 3.10.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// The declaration of a queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDeclaration {
    /// The purpose of the queue.
    pub queue: Queue,
    /// Its name.
    pub name: String,
    /// The queue's arguments, which are texts and numbers.
    pub arguments: BTreeMap<&'static str, Argument>,
}

/// The value of a queue's argument.
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
    /// The queues, all durable: those of the routes in their order, then those of witnesses, accept
    /// reports and dead letters.
    pub queues: Vec<QueueDeclaration>,
}

/// Returns the name of a route's queue.
pub(crate) fn route_queue(environment: &EnvironmentName, route: &RouteName) -> String {
    format!("hookbox.{environment}.route.{route}")
}

/// Returns the name of the dead-letter queue.
pub(crate) fn dead_queue(environment: &EnvironmentName) -> String {
    format!("hookbox.{environment}.dead")
}

/// Returns the name of the queue of accept reports.
pub(crate) fn accounts_queue(environment: &EnvironmentName) -> String {
    format!("hookbox.{environment}.accounts")
}

/// Returns the name of the queue of witnesses.
pub(crate) fn witness_queue(environment: &EnvironmentName) -> String {
    format!("hookbox.{environment}.witness")
}

/// Returns the queues of an environment with these routes.
pub fn topology(environment: &EnvironmentName, routes: &[RouteName]) -> Topology {
    let text = |text: &str| Argument::Text(text.to_owned());
    // Only quorum queues confirm after an fsync on a majority (H6). A full queue must reject new
    // messages and not drop its oldest; dead-lettering at least once requires this as well.
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
    // This is the only queue that may drop messages, because each newer witness makes the oldest
    // worthless. Reading counts as a delivery, so its limit is as high as that of dead letters.
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
