//! A queue that is deleted in the middle of a look at it.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::hash::{BuildHasher, RandomState};

use lapin::ConnectionProperties;
use lapin::options::{
    BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::{BasicProperties, Connection};

use super::*;
use crate::topology::Argument;

const URL: &str = "HOOKBOX_TEST_AMQP_URL";

async fn connect() -> Connection {
    let url = std::env::var(URL)
        .unwrap_or_else(|_| panic!("{URL} must name a RabbitMQ server, such as amqp://…/%2f"));
    let properties = ConnectionProperties::default();
    Connection::connect(&url, properties).await.unwrap()
}

fn queue() -> QueueDeclaration {
    let kind = Argument::Text("quorum".to_owned());
    QueueDeclaration {
        name: format!("hookbox-look-{:016x}", RandomState::new().hash_one(0)),
        arguments: BTreeMap::from([("x-queue-type", kind)]),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_deleted_between_both_questions_is_told() {
    let (connection, queue) = (connect().await, queue());
    let channel = connection.create_channel().await.unwrap();
    let options = ConfirmSelectOptions::default();
    channel.confirm_select(options).await.unwrap();
    let name = queue.name.as_str();
    let options = QueueDeclareOptions::durable();
    let declared = channel.queue_declare(name.into(), options, queue.table());
    declared.await.unwrap();
    let mut asker = Asker::new(&connection);
    let Look::There(empty) = asker.look(name).await.unwrap() else {
        panic!("{name} was declared");
    };
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let published = channel.basic_publish("".into(), name.into(), options, b"x", properties);
    published.await.unwrap().await.unwrap();
    let Look::There(before) = asker.look(name).await.unwrap() else {
        panic!("{name} was declared");
    };
    let Declared::Same(there) = asker.declare(&queue).await.unwrap() else {
        panic!("{name} is as it was declared");
    };
    assert!(!there.is_new_after(before) && !there.is_new_after(empty));

    let delete = |name: &str| channel.queue_delete(name.into(), QueueDeleteOptions::default());
    delete(name).await.unwrap();
    let Declared::Same(now) = asker.declare(&queue).await.unwrap() else {
        panic!("{name} is declared again");
    };
    assert!(now.is_new_after(before), "{now:?} after {before:?}");
    delete(name).await.unwrap();
    let _ = connection.close(200, "done".into()).await;
}
