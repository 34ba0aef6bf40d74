//! Defines every queue and all its arguments; no other file does. `schemas/topology.json` is the
//! output of this file (without the anchor queue, which expires). Nothing here deletes a queue, or
//! declares an existing queue again.
//!
//! A batch is published to each route's queue by the queue's name, through AMQP's default exchange.
//! Bindings of the default exchange cannot be removed, and if the queue is missing, the broker
//! always returns the message. With a topic exchange, a binding could be removed by mistake. If one
//! queue were missing and another queue matched the same topic, the broker would not return the
//! message, and the loss would stay hidden. Besides, a route may have a pattern such as `*_score`,
//! which is not a valid AMQP pattern.

use std::collections::BTreeMap;

use hookbox_driver::{Queue, WITNESSES_KEPT};
use hookbox_event::{EnvironmentName, RouteName};
use lapin::types::{AMQPValue, FieldTable};

/// How many times RabbitMQ may deliver a message that is never settled. After that, it moves the
/// message to the dead-letter queue. The limit is set explicitly because RabbitMQ's default is no
/// limit before 4.0 and 20 from 4.0 on, and because versions of RabbitMQ count deliveries
/// differently. The store counts the attempts of a retry policy. This limit is far above their
/// number, so it does not interfere with them.
const DELIVERY_LIMIT: i64 = 1_000;

/// The delivery limit of the queues of dead letters, accept reports and witnesses. These queues
/// have no dead-letter queue themselves, so RabbitMQ would drop a message that reaches the limit.
/// The limit cannot be left out or unlimited: without it, RabbitMQ 4 applies 20, and RabbitMQ 3.10
/// delivers nothing at all with -1.
const DEAD_DELIVERY_LIMIT: i64 = 1_000_000_000;

/// A queue as hookbox declares it at the broker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueDeclaration {
    /// What the queue is for, such as a route or accept reports.
    pub queue: Queue,
    /// The name of the queue at the broker.
    pub name: String,
    /// The queue's AMQP arguments. Their values are texts and numbers.
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
    /// The queues, which are all durable: first the queues of the routes, in the order of the
    /// routes, then the queues of witness messages, accept reports and dead letters.
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

/// Returns the name of the queue of witness messages.
pub(crate) fn witness_queue(environment: &EnvironmentName) -> String {
    format!("hookbox.{environment}.witness")
}

/// Returns the queues of an environment with these routes.
pub fn topology(environment: &EnvironmentName, routes: &[RouteName]) -> Topology {
    let text = |text: &str| Argument::Text(text.to_owned());
    // Of RabbitMQ's queue types, only quorum queues confirm a message after an fsync on a majority
    // of their nodes (H6). A full queue must reject new messages (`reject-publish`) and must not
    // drop its oldest messages. At-least-once dead-lettering requires `reject-publish` as well.
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
    // This is the only queue that may drop messages, because each newer witness message makes the
    // oldest one worthless. Each read of a witness counts as a delivery, so the delivery limit is
    // as high as that of the dead-letter queue.
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
