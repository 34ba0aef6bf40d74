//! A test of a queue that is deleted while it is checked.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use hookbox_driver::Queue;
use lapin::ConnectionProperties;
use lapin::options::QueueDeclareOptions;

use super::*;
use crate::canaries::{confirming, connect, delete};
use crate::topology::Argument;

fn queue() -> QueueDeclaration {
    let kind = Argument::Text("quorum".to_owned());
    QueueDeclaration {
        queue: Queue::Dead,
        name: format!("hookbox-look-{:016x}", RandomState::new().hash_one(0)),
        arguments: BTreeMap::from([("x-queue-type", kind)]),
    }
}

/// Tests H18: a declaration with the extra argument `NEVER_DECLARED` must be accepted by RabbitMQ
/// if the queue exists. If the queue is missing, RabbitMQ must refuse the declaration and not
/// create the queue.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_between_both_questions_is_missing_and_not_declared() {
    let connection = connect(ConnectionProperties::default()).await;
    let (channel, mut queue) = (confirming(&connection).await, queue());
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(queue.name.as_str().into(), options, queue.table());
    declared.await.unwrap();
    let mut checker = Checker::new(&connection);
    assert_eq!(checker.examine(&queue).await.unwrap(), State::AsDeclared);

    let limit = Argument::Number(7);
    queue.arguments.insert("x-delivery-limit", limit);
    let State::Different(difference) = checker.examine(&queue).await.unwrap() else {
        panic!("another delivery limit must be reported as a difference");
    };
    assert!(difference.difference.contains("x-delivery-limit"));
    queue.arguments.remove("x-delivery-limit");

    delete(&channel, &queue.name).await;
    // Only the second step of the check, the comparison, runs here. So the queue is missing, as if
    // it had been deleted after the first step found it.
    assert_eq!(checker.compare(&queue).await.unwrap(), State::Missing);
    assert!(!checker.is_there(&queue.name).await.unwrap());
    let _ = connection.close(200, "done".into()).await;
}
